//! Writes `docs/seeds.md` to standard output.

fn main() {
    print!("{}", faultless_scenarios::page::text());
}
