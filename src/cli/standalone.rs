//! `posthorn standalone DIR`: everything in one process, from a folder of destinations.

use super::ingest::TlsArgs;
use super::setting::{Bytes, Setting, Time};
use crate::shutdown::Shutdown;
use crate::standalone::server::ServerOptions;
use crate::standalone::{self, Options, Started, data_dir};
use crate::worker::halt::DEFAULT_PROBE;
use anyhow::Context as _;
use clap::builder::FalseyValueParser;
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  posthorn standalone destinations                    a private Redis, events to http://127.0.0.1:8080
  posthorn standalone destinations --redis redis://127.0.0.1:6379
  POSTHORN_LISTEN=0.0.0.0:8080 posthorn standalone destinations

Each *.yaml, *.yml and *.json in the folder holds EventDestinations, and the Secrets and ConfigMaps that they refer to; posthorn.yaml
in it holds the settings of the buses. Changes are picked up while it runs. Ctrl-C ends it in order; what waits is kept.";

/// Runs everything in one process, from a folder of EventDestinations.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Folder with the EventDestinations (YAML or JSON)
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Where events are taken [default: 127.0.0.1:8080]
    #[arg(long, env = "POSTHORN_LISTEN", value_name = "ADDR", default_value = "", hide_default_value = true)]
    listen: Setting<SocketAddr>,
    #[command(flatten)]
    tls: TlsArgs,
    /// Where /livez, /readyz and /metrics are [default: 127.0.0.1:9090]
    #[arg(long, env = "POSTHORN_ADMIN_LISTEN", value_name = "ADDR", default_value = "", hide_default_value = true)]
    admin_listen: Setting<SocketAddr>,
    /// Where data is kept [default: ~/.local/state/posthorn]
    #[arg(long, env = data_dir::VARIABLE, value_name = "DIR", default_value = "", hide_default_value = true)]
    data_dir: Setting<PathBuf>,
    /// A Redis to use instead of a private one (redis://host:6379, rediss://…, unix:///path)
    #[arg(long, env = "POSTHORN_REDIS_URL", hide_env_values = true, value_name = "URL", default_value = "", hide_default_value = true)]
    redis: Setting<String>,
    /// Authorities (PEM) that certify that Redis where it is rediss://; no others are trusted then [default: the system's]
    #[arg(long, env = "POSTHORN_REDIS_CA", value_name = "FILE", default_value = "", hide_default_value = true)]
    redis_ca: Setting<PathBuf>,
    /// The redis-server or valkey-server to start [default: the first on the PATH that is new enough]
    #[arg(long, env = "POSTHORN_REDIS_SERVER", value_name = "FILE", default_value = "", hide_default_value = true)]
    redis_server: Setting<PathBuf>,
    /// Most memory of the private Redis (512Mi, 2Gi) [default: 75 % of the machine counts as full]
    #[arg(long, env = "POSTHORN_MAX_MEMORY", value_name = "SIZE", default_value = "", hide_default_value = true)]
    max_memory: Setting<Bytes>,
    /// Run although Redis may lose events that were accepted (no append-only file, eviction, fsync)
    #[arg(long, env = "POSTHORN_UNSAFE_STORAGE", value_parser = FalseyValueParser::new())]
    unsafe_storage: bool,
    /// How often the head of a halted destination is probed (30s, 5m) [default: 5m]
    #[arg(long, env = "POSTHORN_HALT_PROBE", value_name = "TIME", default_value = "", hide_default_value = true)]
    halt_probe: Setting<Time>,
    /// Let destinations accept any certificate of their receiver (tls.insecureSkipVerify)
    #[arg(long, env = "POSTHORN_ALLOW_INSECURE_TLS", value_parser = FalseyValueParser::new())]
    allow_insecure_tls: bool,
}

/// Runs until SIGTERM or SIGINT, or until something cannot go on.
///
/// # Errors
/// If it cannot start, or a part of it ended.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let options = args.options()?;
    let shutdown = Shutdown::on_signals().context("signal handlers cannot be installed")?;
    standalone::run(options, shutdown, |started| {
        if std::io::stdout().is_terminal() {
            println!("{}", welcome(started));
        }
    })
    .await?;
    Ok(ExitCode::SUCCESS)
}

impl Args {
    fn options(self) -> anyhow::Result<Options> {
        let data_dir = match self.data_dir.0 {
            Some(path) => path,
            None => data_dir::default_path()?,
        };
        Ok(Options {
            folder: self.folder,
            tls: self.tls.load()?,
            listen: self.listen.0.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080))),
            admin_listen: self.admin_listen.0.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 9090))),
            data_dir,
            redis: self.redis.0.map(|url| url.parse()).transpose().context("--redis")?,
            redis_ca: self.redis_ca.0,
            server: ServerOptions { program: self.redis_server.0, max_memory: self.max_memory.0.map(|bytes| bytes.0) },
            unsafe_storage: self.unsafe_storage,
            halt_probe: self.halt_probe.0.map_or(DEFAULT_PROBE, |time| time.0),
            allow_insecure_tls: self.allow_insecure_tls,
        })
    }
}

/// What a person who has just started it wants to know.
fn welcome(started: &Started) -> String {
    let Started { listen, tls, admin_listen, folder, data_dir, redis, destinations } = started;
    let (scheme, trust) = if *tls { ("https", " --cacert AUTHORITY") } else { ("http", "") };
    let flag = if data_dir::default_path().is_ok_and(|default| default == *data_dir) {
        String::new()
    } else {
        format!(" --data-dir {}", data_dir.display())
    };
    format!(
        "Posthorn runs.\n\n\
         \x20 events      POST {scheme}://{listen}/\n\
         \x20 folder      {} ({destinations} destinations)\n\
         \x20 data        {}\n\
         \x20 redis       {redis}\n\
         \x20 health      http://{admin_listen}/readyz, /metrics\n\n\
         Try, in another terminal:\n\n\
         \x20 curl -i{trust} {scheme}://{listen}/ -H 'ce-specversion: 1.0' -H 'ce-id: 1' -H 'ce-source: /me' -H 'ce-type: com.example.hello' \\\n\
         \x20      -H 'content-type: application/json' -d '{{\"hello\":\"world\"}}'\n\
         \x20 posthorn get -w{flag}\n\n\
         Ctrl-C ends it; what waits is kept.",
        folder.display(),
        data_dir.display(),
    )
}
