//! The `posthorn` binary: a TLS provider, the command line, an exit status.

use posthorn::cli::plugin;
use std::process::ExitCode;

fn main() -> ExitCode {
    // one provider for every client in the process, before anything may ask for it
    rustls::crypto::aws_lc_rs::default_provider().install_default().expect("nothing installed another one before");
    let cli = match plugin::parse() {
        Ok(cli) => cli,
        Err(error) => return fail(&error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    runtime.block_on(cli.run()).unwrap_or_else(|error| fail(&error))
}

fn fail(error: &anyhow::Error) -> ExitCode {
    let mut message = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        // some errors tell their cause themselves, with what to do behind it
        if !message.contains(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    eprintln!("error: {message}");
    ExitCode::FAILURE
}
