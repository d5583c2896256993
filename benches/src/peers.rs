//! Running `peers.py`, and reading what it says.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::Failure;
use crate::work::Measured;

/// Runs the script with a Python that has the peers of `requirements.txt`.
///
/// # Errors
/// When the script does not run or fails; a peer that is missing is only told.
pub fn measure(
    python: &str,
    bundles: &Path,
    threads: usize,
    runs: usize,
) -> Result<Vec<Measured>, Failure> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers.py");
    let output = Command::new(python)
        .arg(script)
        .arg("--bundles")
        .arg(bundles)
        .args([
            "--threads",
            &threads.to_string(),
            "--runs",
            &runs.to_string(),
        ])
        .output()?;
    if !output.status.success() {
        return Err(format!("peers.py: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let mut measured = Vec::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let said: Value = serde_json::from_str(line)?;
        let text = |key: &str| said[key].as_str().unwrap_or_default().to_owned();
        match said["ms"].as_f64() {
            Some(ms) => measured.push(Measured {
                work: text("work"),
                who: text("peer"),
                ms,
            }),
            None => println!("{} is not measured: {}", text("peer"), text("skipped")),
        }
    }
    Ok(measured)
}
