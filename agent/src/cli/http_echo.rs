//! `trine http-echo`: flags of the little web server the walkthrough's jobs run.

use std::process::ExitCode;

use crate::http_echo::{Config, serve};

/// Exit code of a wrong use, the one scripts written for the original know.
const WRONG_USE: u8 = 127;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address and port to listen on
    #[arg(long, default_value = ":5678", value_name = "ADDR")]
    listen: String,
    /// Text to answer with; ECHO_TEXT when absent
    #[arg(long, env = "ECHO_TEXT", value_name = "TEXT", allow_hyphen_values = true)]
    text: Option<String>,
    /// Status code to answer with
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u16).range(200..=999))]
    status_code: u16,
    /// Print the version and leave
    #[arg(long)]
    version: bool,
    #[arg(hide = true)]
    unexpected: Vec<String>,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.version {
        eprintln!("http-echo (trine) v{}", super::version::VERSION);
        return Ok(ExitCode::SUCCESS);
    }
    let Some(text) = args.text.clone().filter(|t| !t.is_empty()) else {
        eprintln!("Missing -text option! Say what to answer: -text \"hello\"");
        return Ok(ExitCode::from(WRONG_USE));
    };
    if !args.unexpected.is_empty() {
        eprintln!(
            "Too many arguments! {:?} belongs to no flag; quote a text that has spaces",
            args.unexpected.join(" ")
        );
        return Ok(ExitCode::from(WRONG_USE));
    }
    let config = Config { listen: args.listen.clone(), text, status: args.status_code };
    super::small_runtime()?.block_on(serve(config))?;
    Ok(ExitCode::SUCCESS)
}
