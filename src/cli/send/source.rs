//! Where the events come from: a thread that reads or makes them, in batches, never far ahead of the sender.

use crate::event::{Attributes, Event, Limits, json};
use anyhow::Context as _;
use bytes::Bytes;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use tokio::sync::mpsc;

/// Most events of a batch: what one call of the script `append` takes quickly.
const MAX_EVENTS: usize = 500;
/// Most bytes of a batch, but for one large event.
const MAX_BYTES: usize = 1 << 20;
/// Read ahead by so many batches.
const AHEAD: usize = 2;
/// Bytes read at once.
const BUFFER: usize = 1 << 20;

/// Events that belong into one call, and lines that are none.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// In their order.
    pub(super) events: Vec<Event>,
    /// Lines that were refused.
    pub(super) refused: Vec<Refused>,
    /// Part of the whole work: bytes of a file, or events.
    pub(super) size: u64,
    bytes: usize,
}

/// A line that is no acceptable event.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(super) struct Refused {
    /// Counted from 1.
    pub(super) line: u64,
    /// The rule that it broke.
    pub(super) reason: String,
}

/// Batches, as they become ready.
pub(super) struct Source {
    batches: mpsc::Receiver<io::Result<Batch>>,
    size: Option<u64>,
}

impl Source {
    /// One event, so many times; more than one get their number added to the id.
    pub(super) fn repeat(event: Event, count: u64) -> anyhow::Result<Source> {
        let attributes: serde_json::Map<_, _> = event.attributes.iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        Ok(Source::start(Some(count), move |out| {
            let mut batch = Batch::default();
            for number in 1..=count {
                let event = if count == 1 { event.clone() } else { numbered(&event, attributes.clone(), number) };
                batch.size += 1;
                batch.push(event);
                if batch.is_full() && out.blocking_send(Ok(std::mem::take(&mut batch))).is_err() {
                    return;
                }
            }
            let _ = out.blocking_send(Ok(batch));
        }))
    }

    /// Lines of JSON of a file, or of standard input (`-`).
    pub(super) fn lines(file: &Path, limits: Limits) -> anyhow::Result<Source> {
        if file == Path::new("-") {
            return Ok(Source::start(None, move |out| read_lines(io::stdin(), &limits, &out)));
        }
        let opened = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
        let metadata = opened.metadata().with_context(|| format!("cannot read {}", file.display()))?;
        let size = metadata.is_file().then_some(metadata.len());
        Ok(Source::start(size, move |out| read_lines(opened, &limits, &out)))
    }

    fn start(size: Option<u64>, make: impl FnOnce(mpsc::Sender<io::Result<Batch>>) + Send + 'static) -> Source {
        let (sender, batches) = mpsc::channel(AHEAD);
        // a thread of its own: it may wait for standard input for ever, and must not hold up the end of the process
        std::thread::spawn(move || make(sender));
        Source { batches, size }
    }

    /// The size of the whole work, where it is known.
    pub(super) fn size(&self) -> Option<u64> {
        self.size
    }

    /// The next batch; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<io::Result<Batch>> {
        self.batches.recv().await
    }
}

impl Batch {
    fn push(&mut self, event: Event) {
        self.bytes += event.data.len();
        self.events.push(event);
    }

    fn is_full(&self) -> bool {
        self.events.len() >= MAX_EVENTS || self.bytes >= MAX_BYTES || self.refused.len() >= MAX_EVENTS
    }

    fn is_empty(&self) -> bool {
        self.events.is_empty() && self.refused.is_empty()
    }
}

fn numbered(event: &Event, mut attributes: serde_json::Map<String, serde_json::Value>, number: u64) -> Event {
    attributes.insert("id".to_owned(), format!("{}-{number}", event.attributes.id()).into());
    let text = serde_json::to_vec(&attributes).expect("a map of strings");
    Event { attributes: Attributes::from_json(&text).expect("only the id is another"), ..event.clone() }
}

/// Reads lines to the end. What is there goes out at once when the next line has not come yet.
fn read_lines(input: impl Read, limits: &Limits, out: &mpsc::Sender<io::Result<Batch>>) {
    let mut input = BufReader::with_capacity(BUFFER, input);
    let mut batch = Batch::default();
    for number in 1.. {
        if (batch.is_full() || !input.buffer().contains(&b'\n'))
            && !batch.is_empty()
            && out.blocking_send(Ok(std::mem::take(&mut batch))).is_err()
        {
            return;
        }
        match read_line(&mut input, limits) {
            Ok(None) => break,
            Ok(Some((line, size))) => {
                batch.size += size;
                match line {
                    Ok(line) if line.trim_ascii().is_empty() => {}
                    Ok(line) => match json::event(&line, limits) {
                        Ok(event) => batch.push(event),
                        Err(error) => batch.refused.push(Refused { line: number, reason: error.to_string() }),
                    },
                    Err(reason) => batch.refused.push(Refused { line: number, reason }),
                }
            }
            Err(error) => {
                let _ = out.blocking_send(Ok(batch));
                let _ = out.blocking_send(Err(error));
                return;
            }
        }
    }
    let _ = out.blocking_send(Ok(batch));
}

/// A line without its end, or why it is too long, and how many bytes were read; `None` at the end of the input.
type Line = (Result<Bytes, String>, u64);

/// Holds no more of a line than an event may have.
fn read_line(input: &mut impl BufRead, limits: &Limits) -> io::Result<Option<Line>> {
    let most = limits.max_event_bytes;
    let mut line = Vec::new();
    // room for the line's end, \r\n
    let mut size = input.by_ref().take(most + 2).read_until(b'\n', &mut line)? as u64;
    if size == 0 {
        return Ok(None);
    }
    let mut complete = line.ends_with(b"\n");
    if !complete && size == most + 2 {
        let rest = input.skip_until(b'\n')? as u64;
        size += rest;
        complete = rest == 0;
        if !complete {
            return Ok(Some((
                Err(format!("the event has more than {most} bytes, {most} are allowed: send less, or a reference to the data")),
                size,
            )));
        }
    }
    let end = line.strip_suffix(b"\n").map_or(line.len(), |line| line.strip_suffix(b"\r").unwrap_or(line).len());
    line.truncate(end);
    Ok(Some((Ok(line.into()), size)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: u64) -> String {
        format!(r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"t","data":"{}"}}"#, "x".repeat(100))
    }

    fn read(text: &str, limits: Limits) -> (Vec<String>, Vec<Refused>, u64) {
        let (sender, mut receiver) = mpsc::channel(1000);
        read_lines(text.as_bytes(), &limits, &sender);
        drop(sender);
        let (mut ids, mut refused, mut size) = (Vec::new(), Vec::new(), 0);
        while let Some(batch) = receiver.blocking_recv() {
            let batch = batch.unwrap();
            assert!(batch.events.len() <= MAX_EVENTS);
            ids.extend(batch.events.iter().map(|event| event.attributes.id().to_owned()));
            refused.extend(batch.refused);
            size += batch.size;
        }
        (ids, refused, size)
    }

    #[test]
    fn every_line_is_an_event_or_is_refused_with_its_number() {
        let text = [line(1), String::new(), "{".into(), line(2) + "\r", r#"{"specversion":"1.0"}"#.into(), line(3)].join("\n");
        let (ids, refused, size) = read(&text, Limits::default());
        assert_eq!(ids, ["1", "2", "3"]);
        assert_eq!(refused.iter().map(|refused| refused.line).collect::<Vec<_>>(), [3, 5]);
        assert!(refused[1].reason.contains("attribute `id`"), "{}", refused[1].reason);
        assert_eq!(size, text.len() as u64);
    }

    #[test]
    fn many_lines_become_bounded_batches_in_order() {
        let text: String = (0..3000).map(|id| line(id) + "\n").collect();
        let (ids, refused, _) = read(&text, Limits::default());
        assert_eq!(ids, (0..3000).map(|id| id.to_string()).collect::<Vec<_>>());
        assert_eq!(refused, []);
    }

    #[test]
    fn a_line_that_is_too_long_is_refused_and_the_next_one_read() {
        let exact = line(2);
        let limits = Limits { max_event_bytes: exact.len() as u64, ..Limits::default() };
        let text = format!("{}\n{exact}\r\n{}x\n{exact}", "x".repeat(5000), exact);
        let (ids, refused, size) = read(&text, limits);
        assert_eq!(ids, ["2", "2"]);
        assert_eq!(refused.iter().map(|refused| refused.line).collect::<Vec<_>>(), [1, 3]);
        assert!(refused.iter().all(|refused| refused.reason.contains("are allowed")), "{refused:?}");
        assert_eq!(size, text.len() as u64);
    }

    #[test]
    fn what_is_there_goes_out_before_the_next_line_comes() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let (sender, mut receiver) = mpsc::channel(10);
        let thread = std::thread::spawn(move || read_lines(reader, &Limits::default(), &sender));
        for id in 0..3 {
            // the next line has begun, and its rest may never come
            io::Write::write_all(&mut writer, format!("{}\n{{", line(id)).strip_prefix(if id == 0 { "" } else { "{" }).unwrap().as_bytes())
                .unwrap();
            let batch = receiver.blocking_recv().unwrap().unwrap();
            assert_eq!(batch.events.len(), 1);
        }
        drop(writer);
        let last = receiver.blocking_recv().unwrap().unwrap();
        assert_eq!(last.refused.len(), 1);
        thread.join().unwrap();
    }

    #[test]
    fn repeated_events_have_ids_of_their_own() {
        let event = json::event(&line(7).into(), &Limits::default()).unwrap();
        let ids = |count| {
            let mut source = Source::repeat(event.clone(), count).unwrap();
            let mut ids = Vec::new();
            while let Some(batch) = source.batches.blocking_recv() {
                ids.extend(batch.unwrap().events.iter().map(|event| event.attributes.id().to_owned()));
            }
            ids
        };
        assert_eq!(ids(1), ["7"]);
        let many = ids(1200);
        assert_eq!((many.len(), many[0].as_str(), many[1199].as_str()), (1200, "7-1", "7-1200"));
    }
}
