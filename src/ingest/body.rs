//! Reading a body within bounds of size, time, rate and memory.

use super::problem::Problem;
use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// How long a body may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// The whole body.
    pub(super) total: Duration,
    /// Before the rate counts.
    pub(super) grace: Duration,
    /// Least bytes a second after that.
    pub(super) min_rate: u64,
}

/// The memory set aside for bodies of all requests under way, in bytes.
#[derive(Clone, Debug)]
pub(super) struct Memory(Arc<Semaphore>);

/// A part of [`Memory`], given back when it is dropped.
#[derive(Debug, Default)]
pub(super) struct Held(Option<OwnedSemaphorePermit>);

impl Memory {
    pub(super) fn new(bytes: usize) -> Memory {
        Memory(Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))))
    }

    /// Takes `bytes` more, or nothing.
    pub(super) fn take(&self, held: &mut Held, bytes: usize) -> Result<(), Problem> {
        let count = u32::try_from(bytes).map_err(|_| Problem::Overloaded)?;
        let more = Arc::clone(&self.0).try_acquire_many_owned(count).map_err(|_| Problem::Overloaded)?;
        match &mut held.0 {
            Some(permit) => permit.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }
}

/// Reads a body of at most `limit` bytes.
///
/// # Errors
/// Too large (told before reading where the length is declared), too slow, cut off, or no memory left.
pub(super) async fn read<B>(body: B, limit: u64, pace: Pace, memory: &Memory, held: &mut Held) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes>,
{
    if body.size_hint().lower() > limit {
        return Err(Problem::BodyTooLarge(limit));
    }
    let mut body = pin!(body);
    let mut parts = Parts::default();
    let start = Instant::now();
    loop {
        let due = start + pace.due(parts.length());
        let frame = tokio::time::timeout_at(due, body.frame()).await.map_err(|_| Problem::BodyTimeout)?;
        let Some(frame) = frame else {
            return Ok(parts.join());
        };
        let frame = frame.map_err(|_| Problem::Request("the body was cut off or is not framed as its headers say"))?;
        let Ok(data) = frame.into_data() else { continue };
        if (parts.length() + data.len()) as u64 > limit {
            return Err(Problem::BodyTooLarge(limit));
        }
        memory.take(held, data.len())?;
        parts.push(data);
    }
}

impl Pace {
    /// How long after the start the next part must be here.
    fn due(&self, received: usize) -> Duration {
        let earned = Duration::from_millis(received as u64 * 1000 / self.min_rate.max(1));
        self.total.min(self.grace + earned)
    }
}

/// The parts of a body; a single one is not copied.
#[derive(Default)]
struct Parts {
    first: Bytes,
    all: BytesMut,
}

impl Parts {
    fn length(&self) -> usize {
        self.first.len().max(self.all.len())
    }

    fn push(&mut self, data: Bytes) {
        if self.length() == 0 {
            self.first = data;
            return;
        }
        if self.all.is_empty() {
            self.all.extend_from_slice(&self.first);
        }
        self.all.extend_from_slice(&data);
    }

    fn join(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.freeze() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;
    use http_body::Frame;
    use http_body_util::{Full, StreamBody};
    use std::convert::Infallible;

    const PACE: Pace = Pace { total: Duration::from_secs(30), grace: Duration::from_secs(5), min_rate: 1024 };

    fn chunks(sizes: &[usize]) -> impl Body<Data = Bytes, Error = Infallible> + use<> {
        let frames: Vec<_> = sizes.iter().map(|size| Ok(Frame::data(Bytes::from(vec![b'x'; *size])))).collect();
        StreamBody::new(stream::iter(frames))
    }

    async fn outcome<B: Body<Data = Bytes>>(body: B, limit: u64, memory: &Memory) -> Result<usize, Problem> {
        read(body, limit, PACE, memory, &mut Held::default()).await.map(|bytes| bytes.len())
    }

    #[tokio::test]
    async fn a_body_at_the_limit_is_read_and_one_above_is_refused() {
        let memory = Memory::new(1000);
        for sizes in [&[10][..], &[3, 3, 4], &[]] {
            assert_eq!(outcome(chunks(sizes), 10, &memory).await.unwrap(), sizes.iter().sum::<usize>());
        }
        assert!(matches!(outcome(chunks(&[3, 3, 5]), 10, &memory).await, Err(Problem::BodyTooLarge(10))));
        let declared = Full::new(Bytes::from_static(b"elevenbytes"));
        assert!(matches!(outcome(declared, 10, &memory).await, Err(Problem::BodyTooLarge(10))));
    }

    #[tokio::test]
    async fn memory_is_taken_as_bytes_arrive_and_given_back() {
        let memory = Memory::new(10);
        let mut held = Held::default();
        read(chunks(&[3, 4]), 100, PACE, &memory, &mut held).await.unwrap();
        assert!(matches!(outcome(chunks(&[2, 2]), 100, &memory).await, Err(Problem::Overloaded)));
        drop(held);
        assert_eq!(outcome(chunks(&[5, 5]), 100, &memory).await.unwrap(), 10);
    }

    #[tokio::test]
    async fn a_body_that_stops_or_drips_is_given_up() {
        let quick = Pace { total: Duration::from_secs(60), grace: Duration::from_millis(20), min_rate: 1 << 20 };
        let memory = Memory::new(1 << 20);
        let mut held = Held::default();
        let stopped = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
        assert!(matches!(read(stopped, 10, quick, &memory, &mut held).await, Err(Problem::BodyTimeout)));
        let drip = StreamBody::new(stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Some((Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"x"))), ()))
        }));
        assert!(matches!(read(drip, 1 << 20, quick, &memory, &mut held).await, Err(Problem::BodyTimeout)));
    }

    #[test]
    fn the_total_time_bounds_even_a_fast_body() {
        assert_eq!(PACE.due(0), Duration::from_secs(5));
        assert_eq!(PACE.due(1024), Duration::from_secs(6));
        assert_eq!(PACE.due(1 << 30), Duration::from_secs(30));
    }
}
