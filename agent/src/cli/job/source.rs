//! A job file on this machine: reading it, its variables, and the JSON the API takes.

use std::{fs, io::Read, path::PathBuf};

use anyhow::{Context, bail};
use scheduler::jobspec;
use serde_json::Value;

/// Larger files are not job files.
const MAX_FILE: u64 = 1 << 20;

#[derive(Clone, Debug, clap::Args)]
pub struct Source {
    /// Job file (HCL or JSON); `-` reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Set a variable of the file: -var name=value
    #[arg(long, value_name = "NAME=VALUE")]
    var: Vec<String>,
    /// File that sets variables
    #[arg(long, value_name = "FILE")]
    var_file: Vec<PathBuf>,
    /// `false` lets variables pass that the file does not declare
    #[arg(long, value_name = "BOOL")]
    hcl2_strict: Option<String>,
}

/// A job file that parsed.
pub struct Loaded {
    pub job: model::Job,
    pub warnings: Vec<String>,
    pub text: String,
}

impl Loaded {
    /// The job as the API takes it.
    pub fn json(&self) -> Value {
        scheduler::http::wire::job::to_json(&self.job)
    }

    /// Where the text came from, so that `job inspect` and the page can show it.
    pub fn submission(&self) -> Value {
        let format = if self.text.trim_start().starts_with('{') { "json" } else { "hcl2" };
        serde_json::json!({ "Source": self.text, "Format": format })
    }
}

impl Source {
    /// Read and parse; errors carry file, line and column.
    pub fn load(&self) -> anyhow::Result<Loaded> {
        let text = self.read()?;
        let mut variables = Vec::new();
        for pair in &self.var {
            let Some((name, value)) = pair.split_once('=') else {
                bail!("-var {pair:?} is not NAME=VALUE");
            };
            variables.push((name.to_owned(), value.to_owned()));
        }
        let variable_files = self
            .var_file
            .iter()
            .map(|f| Ok((f.display().to_string(), read_bounded(f)?)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let environment = std::env::vars()
            .filter_map(|(k, v)| k.strip_prefix("NOMAD_VAR_").map(|name| (name.to_owned(), v)))
            .collect();
        let options = jobspec::ParseOptions {
            file_name: self.file.display().to_string(),
            variables,
            variable_files,
            environment,
            strict: self.hcl2_strict.as_deref() != Some("false"),
            files: Some(self.file.parent().map(PathBuf::from).unwrap_or_default()),
        };
        let parsed = jobspec::parse(&text, &options)?;
        Ok(Loaded { job: parsed.job, warnings: parsed.warnings, text })
    }

    fn read(&self) -> anyhow::Result<String> {
        if self.file.as_os_str() != "-" {
            return read_bounded(&self.file);
        }
        let mut text = String::new();
        std::io::stdin().take(MAX_FILE).read_to_string(&mut text).context("cannot read standard input as text")?;
        Ok(text)
    }
}

fn read_bounded(file: &std::path::Path) -> anyhow::Result<String> {
    let length = fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?.len();
    if length > MAX_FILE {
        bail!("{} has {length} bytes; a job file has at most {MAX_FILE}", file.display());
    }
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}
