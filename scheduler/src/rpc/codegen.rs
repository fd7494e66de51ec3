//! The checked-in gRPC code is what the proto says: generated again and compared, so that no build needs a compiler.

use std::{fs, path::Path};

/// Set to write the file instead of comparing it.
const REGENERATE: &str = "TRINE_REGENERATE";

#[test]
fn generated_code_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let proto = root.join("proto");
    let descriptors = protox::compile([proto.join("replica.proto")], [&proto]).unwrap();
    let out = tempfile::TempDir::new().unwrap();
    tonic_prost_build::configure().bytes(".").out_dir(out.path()).compile_fds(descriptors).unwrap();
    let name = "trine.replica.v1.rs";
    let fresh = fs::read_to_string(out.path().join(name)).unwrap();
    let kept = root.join("src/rpc/gen").join(name);
    if std::env::var_os(REGENERATE).is_some() {
        fs::write(&kept, &fresh).unwrap();
    }
    let kept = fs::read_to_string(&kept).unwrap();
    assert!(kept == fresh, "proto/replica.proto changed: run {REGENERATE}=1 cargo test -p scheduler codegen");
}
