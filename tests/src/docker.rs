//! A Docker engine, if one answers, and the images the job files name, built from the binary under test.

use std::{path::Path, process::Command};

/// Whether an engine answers; otherwise why not.
pub fn engine() -> Result<(), String> {
    let out = Command::new("docker").args(["version", "--format", "{{.Server.Version}}"]).output();
    match out {
        Ok(o) if o.status.success() => Ok(()),
        Ok(o) => Err(String::from_utf8_lossy(&o.stderr).trim().to_owned()),
        Err(e) => Err(format!("no docker client: {e}")),
    }
}

/// Build one of the images of `examples/http-echo` from `binary`.
pub fn build_image(root: &Path, binary: &Path, image: &str) {
    let script = root.join("examples/http-echo/build.sh");
    let out = Command::new("bash").arg(&script).arg(image).env("TRINE", binary).output().expect("bash runs");
    assert!(
        out.status.success(),
        "{}: {}{}",
        script.display(),
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
}

/// Remove every container that carries one of Trine's labels.
pub fn remove_leftovers() {
    let out = Command::new("docker").args(["ps", "-aq", "--filter", "label=trine.alloc_id"]).output();
    let Ok(out) = out else { return };
    for id in String::from_utf8_lossy(&out.stdout).split_whitespace() {
        Command::new("docker").args(["rm", "-f", id]).output().ok();
    }
}
