//! `posthorn receiver`: a test receiver that prints what it gets, checks order and signatures, and fails on demand.

use crate::receiver::check::{Check, Summary, Verdict};
use crate::receiver::seen::Numbering;
use crate::receiver::signature::Key;
use crate::receiver::{Answer, Behaviour, Seen, server};
use anyhow::Context as _;
use base64::Engine as _;
use clap::ValueEnum;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::net::TcpSocket;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

const EXAMPLES: &str = "\
Examples:
  posthorn receiver                                   print what arrives, answer 204
  posthorn receiver --listen 127.0.0.1:9001 --fail-every 10
                                                      503 to every tenth event's first attempt
  posthorn receiver --delay 200ms --secret-file key   slow, and verifies signatures

Ends at Ctrl-C or SIGTERM with a summary; its exit status is not 0 if an event came out of order, if a source's --counter
skipped a number, if a signature did not verify, or if fewer events came than --expect says.";

/// A test receiver: prints what it gets, checks order and signatures, fails on demand.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Answer with this status code: always, or where --fail-every says [default: 204, to fail 503]
    #[arg(long, value_name = "CODE", value_parser = clap::value_parser!(u16).range(200..=599))]
    status: Option<u16>,
    /// Fail every N-th event's first attempt
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    fail_every: Option<u64>,
    /// Answer 422 to every event of this type
    #[arg(long, value_name = "TYPE")]
    reject_type: Option<String>,
    /// Wait before each answer (200ms, 2s)
    #[arg(long, value_name = "TIME", value_parser = duration)]
    delay: Option<Duration>,
    /// Never answer
    #[arg(long)]
    hang: bool,
    /// Never answer every N-th event's first attempt
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    hang_every: Option<u64>,
    /// Refuse connections for this long after the start
    #[arg(long, value_name = "TIME", value_parser = duration)]
    down_for: Option<Duration>,
    /// Verify Standard Webhooks signatures with this key (whsec_…), answer 401 otherwise
    #[arg(long, value_name = "KEY", hide_env_values = true)]
    secret: Option<String>,
    /// The same, with the keys of a file, one a line; any of them may have signed
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// An extension attribute in which each source numbers its events 1, 2, 3, …: skipped numbers are missing events
    #[arg(long, value_name = "NAME")]
    counter: Option<String>,
    /// Events are in order by this attribute only, as with ordering.mode: PerKey; id for no order
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// Fail at the end if fewer events were accepted
    #[arg(long, value_name = "N")]
    expect: Option<u64>,
    /// End once this many events were accepted
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    exit_after: Option<u64>,
    /// Write the summary as JSON to this file at the end
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Print no line for each request
    #[arg(long, short)]
    quiet: bool,
    /// How requests are printed; json: one object a line, with headers and body (base64)
    #[arg(long, short, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Connections that may wait to be taken.
const BACKLOG: u32 = 1024;

/// Runs until a signal or `--exit-after`.
///
/// # Errors
/// If the address cannot be had, a key cannot be read, or the report cannot be written.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let keys = args.keys()?;
    let socket = bind(args.listen).with_context(|| format!("cannot listen on {}: choose another --listen", args.listen))?;
    let address = format!("listening on http://{}", socket.local_addr()?);

    let session = Arc::new(Session::new(&args, keys));
    let serving = async {
        let listener = match args.down_for {
            None => {
                let listener = socket.listen(BACKLOG)?;
                say(&args, &address);
                listener
            }
            // its address is told at once, so that it can be used while nobody answers there
            Some(down_for) => {
                say(&args, &address);
                tokio::time::sleep(down_for).await;
                socket.listen(BACKLOG)?
            }
        };
        let handler = Arc::clone(&session);
        server::serve(listener, None, Arc::new(move |seen| handler.handle(seen))).await;
        anyhow::Ok(())
    };
    tokio::pin!(serving);
    tokio::select! {
        ended = &mut serving => ended?,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = session.enough.notified() => {
            // The last event is accepted but not yet answered.
            let _ = tokio::time::timeout(Duration::from_millis(300) + args.delay.unwrap_or_default(), &mut serving).await;
        }
    }
    let summary = session.summary();
    finish(&args, &summary)
}

/// Bound and not yet listening: connections are refused.
fn bind(addr: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}

fn finish(args: &Args, summary: &Summary) -> anyhow::Result<ExitCode> {
    say(args, &summary.to_string());
    if let Some(file) = &args.report {
        let json = serde_json::to_string_pretty(summary).context("a summary is numbers")?;
        std::fs::write(file, json + "\n").with_context(|| format!("cannot write the report to {}", file.display()))?;
    }
    let missing = args.expect.unwrap_or_default().saturating_sub(summary.accepted);
    if missing > 0 {
        say(args, &format!("{missing} fewer than expected"));
    }
    Ok(if summary.is_good() && missing == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// For people; where the output is for programs, beside it.
fn say(args: &Args, line: &str) {
    match args.output {
        Output::Text => print_line(line),
        Output::Json => eprintln!("{line}"),
    }
}

/// Whoever reads may have gone; receiving goes on.
fn print_line(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

impl Args {
    fn keys(&self) -> anyhow::Result<Vec<Key>> {
        let file = |path: &Path| std::fs::read_to_string(path).with_context(|| format!("cannot read the keys in {}", path.display()));
        let lines = self.secret_file.as_deref().map(file).transpose()?.unwrap_or_default();
        let all = lines.lines().map(str::trim).filter(|line| !line.is_empty()).chain(self.secret.as_deref());
        Ok(all.map(Key::parse).collect::<Result<_, _>>()?)
    }

    fn behaviour(&self) -> Behaviour {
        let hits = |every: Option<u64>, seen: &Seen| every.is_some_and(|n| seen.first_number.is_some_and(|first| first % n == 0));
        let (delay, hang, hang_every, fail_every) = (self.delay, self.hang, self.hang_every, self.fail_every);
        let (status, reject) = (self.status, self.reject_type.clone());
        Behaviour::new(move |seen| {
            let answer = if hang || hits(hang_every, seen) {
                return Answer::Hang;
            } else if reject.is_some() && seen.event_type() == reject.as_deref() {
                Answer::Status(422)
            } else if hits(fail_every, seen) {
                Answer::Status(status.unwrap_or(503))
            } else {
                Answer::Status(if fail_every.is_some() { 204 } else { status.unwrap_or(204) })
            };
            delay.map_or(answer.clone(), |delay| Answer::After(delay, Box::new(answer)))
        })
    }
}

/// Everything that one run knows.
struct Session {
    behaviour: Behaviour,
    keys: Vec<Key>,
    printed: Option<Output>,
    exit_after: u64,
    state: Mutex<(Numbering, Check)>,
    enough: Notify,
}

impl Session {
    fn new(args: &Args, keys: Vec<Key>) -> Session {
        let printed = (!args.quiet).then_some(args.output);
        if printed == Some(Output::Text) {
            print_line(&row(["#", "SEQUENCE", "ATTEMPT", "ANSWER", "VERDICT", "BYTES", "TYPE", "SOURCE", "ID"].map(String::from)));
        }
        Session {
            behaviour: args.behaviour(),
            keys,
            printed,
            exit_after: args.exit_after.unwrap_or(u64::MAX),
            state: Mutex::new((Numbering::default(), Check::new(args.counter.clone()).by_key(args.key.clone()))),
            enough: Notify::new(),
        }
    }

    fn handle(&self, mut seen: Seen) -> Answer {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (numbering, check) = &mut *state;
        numbering.number(&mut seen);
        let trusted = self.keys.is_empty() || self.keys.iter().any(|key| key.verify(&seen.headers, &seen.body, SystemTime::now()).is_ok());
        let answer = if trusted { self.behaviour.decide(&seen) } else { Answer::Status(401) };
        seen.status = answer.status();
        let verdict = check.observe(&seen, trusted);
        match self.printed {
            None => {}
            Some(Output::Text) => print_line(&text(&seen, verdict)),
            Some(Output::Json) => print_line(&json(&seen, verdict)),
        }
        if check.summary().accepted >= self.exit_after {
            self.enough.notify_one();
        }
        answer
    }

    fn summary(&self) -> Summary {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1.summary().clone()
    }
}

fn row(cells: [String; 9]) -> String {
    let [number, sequence, attempt, answer, verdict, bytes, event_type, source, id] = cells;
    format!("{number:>5}  {sequence:<27}  {attempt:>7}  {answer:>6}  {verdict:<9}  {bytes:>7}  {event_type:<32}  {source:<20}  {id}")
}

fn text(seen: &Seen, verdict: Verdict) -> String {
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    // What others wrote must not steer the terminal.
    let harmless = |value: Option<&str>| or_dash(value.map(|value| value.replace(char::is_control, "\u{fffd}")));
    row([
        seen.number.to_string(),
        or_dash(seen.sequence().map(|sequence| sequence.padded())),
        or_dash(seen.attempt().map(|attempt| attempt.to_string())),
        or_dash(seen.status.map(|status| status.to_string())),
        verdict.to_string(),
        seen.body.len().to_string(),
        harmless(seen.event_type()),
        harmless(seen.source()),
        harmless(seen.id()),
    ])
}

/// One request as a JSON object.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    number: u64,
    method: &'a str,
    path: &'a str,
    headers: BTreeMap<&'a str, String>,
    body: String,
    sequence: Option<String>,
    attempt: Option<u32>,
    status: Option<u16>,
    verdict: Verdict,
}

fn json(seen: &Seen, verdict: Verdict) -> String {
    let line = Line {
        number: seen.number,
        method: seen.method.as_str(),
        path: &seen.path,
        headers: seen.headers.iter().map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()).into_owned())).collect(),
        body: base64::engine::general_purpose::STANDARD.encode(&seen.body),
        sequence: seen.sequence().map(|sequence| sequence.padded()),
        attempt: seen.attempt(),
        status: seen.status,
        verdict,
    };
    serde_json::to_string(&line).expect("a struct of strings and numbers")
}

/// A time as in Kubernetes: `500ms`, `30s`, `1m`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a time: write it like 200ms, 5s or 1m");
    text.parse::<jiff::SignedDuration>().map_err(|_| wrong())?.try_into().map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn args(flags: &[&str]) -> Args {
        Cli::try_parse_from([&["receiver"], flags].concat()).map(|cli| cli.args).unwrap()
    }

    fn event(first_number: u64, event_type: &str) -> Seen {
        let headers = [("ce-type".parse().unwrap(), event_type.parse().unwrap())].into_iter().collect();
        let mut seen = Seen::new(http::Method::POST, "/".into(), headers, bytes::Bytes::new());
        seen.first_number = Some(first_number);
        seen
    }

    #[test]
    fn flags_decide_the_answer() {
        let answer = |flags: &[&str], seen: &Seen| args(flags).behaviour().decide(seen);
        assert_eq!(answer(&[], &event(1, "t")), Answer::Status(204));
        assert_eq!(answer(&["--status", "500"], &event(1, "t")), Answer::Status(500));
        assert_eq!(answer(&["--fail-every", "10"], &event(9, "t")), Answer::Status(204));
        assert_eq!(answer(&["--fail-every", "10"], &event(10, "t")), Answer::Status(503));
        assert_eq!(answer(&["--fail-every", "10", "--status", "429"], &event(20, "t")), Answer::Status(429));
        assert_eq!(answer(&["--reject-type", "t"], &event(1, "t")), Answer::Status(422));
        assert_eq!(answer(&["--hang-every", "2"], &event(2, "t")), Answer::Hang);
        let late = Answer::After(Duration::from_millis(200), Box::new(Answer::Status(204)));
        assert_eq!(answer(&["--delay", "200ms"], &event(1, "t")), late);
    }

    #[test]
    fn a_time_is_refused_with_an_example() {
        assert_eq!(duration("1m"), Ok(Duration::from_secs(60)));
        for wrong in ["", "5", "-1s", "soon"] {
            assert!(duration(wrong).unwrap_err().contains("200ms"), "{wrong}");
        }
    }

    #[test]
    fn what_others_wrote_does_not_steer_the_terminal() {
        let mut seen = event(1, "t");
        seen.attributes.insert("id".into(), "\u{1b}[2J".into());
        assert!(!text(&seen, Verdict::Accepted).contains('\u{1b}'));
    }
}
