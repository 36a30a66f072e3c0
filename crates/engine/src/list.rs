//! Index-linked lists of frames.
