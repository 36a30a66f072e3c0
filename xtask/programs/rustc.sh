# rustc, which maps the libraries that it reads, on a crate of its own.
# packages: gcc libc6-dev

prepare() {
    mkdir -p crate/src
    {
        echo 'use std::collections::*;'
        for n in $(seq 200); do
            echo "/// Number $n."
            echo "pub fn f$n(map: &mut BTreeMap<String, Vec<u$((n % 2 == 0 ? 32 : 64))>>) -> usize {"
            echo "    map.entry(format!(\"{}\", $n)).or_default().push($n); map.len() + $n }"
        done
    } >crate/src/lib.rs
}

play() {
    under rustc --edition 2024 --crate-name library --crate-type rlib -C codegen-units=1 -C debuginfo=2 -O \
        --remap-path-prefix "$PREPARED=/crate" --remap-path-prefix "$PWD=/here" "$PREPARED/crate/src/lib.rs" -o library.rlib
    sha256sum library.rlib
    cat >main.rs <<'END'
fn main() {
    let mut map = Default::default();
    println!("{}", library::f7(&mut map) + library::f8(&mut Default::default()));
}
END
    under rustc --edition 2024 --extern library=library.rlib main.rs -o main
    under ./main
    sha256sum main
}
