//! Test data that lies beside the repository and is never copied into it.

use std::path::{Path, PathBuf};

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests crate lies in the workspace").to_path_buf()
}

/// A folder of the shared test data, or why it is not there.
pub fn folder(name: &str) -> Result<PathBuf, String> {
    let path = root().join("../shared").join(name);
    if path.is_dir() { Ok(path) } else { Err(format!("{} is not there", path.display())) }
}
