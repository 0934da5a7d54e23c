//! Requests in progress, each in its own connection; all of them in the destination's one task.

use crate::bus::Error;
use crate::bus::queue::{Answered, Tenure};
use crate::event::Sequence;
use crate::failpoint;
use crate::worker::attempt::{Attempt, Class, Failure, Outcome};
use crate::worker::held::Held;
use crate::worker::sink::Sink;
use futures::future::{BoxFuture, join_all};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Events on their way to one request, or in it.
pub(super) struct Flight {
    /// Of one lane, in order; never empty.
    pub(super) events: Vec<Held>,
    pub(super) sink: Sink,
    /// The place for an attempt that may kill the process.
    pub(super) alone: Option<OwnedSemaphorePermit>,
    /// It was halted when this began.
    pub(super) probe: bool,
}

impl Flight {
    /// The first of its events, which stands for all.
    pub(super) fn head(&self) -> &Held {
        &self.events[0]
    }
}

/// What a flight does next.
pub(super) enum Step {
    /// Waits for the one place in this process for an attempt that may kill it.
    Alone(Arc<Semaphore>),
    /// Counts the attempt before it is made; for each event whether it is made alone, and whether this process has counted it before.
    Begin(Tenure, Vec<(bool, bool)>),
    /// Makes the request.
    Send,
}

/// What came of a step.
pub(super) enum Done {
    /// It has the place.
    Alone(Option<OwnedSemaphorePermit>),
    /// For each event, how many workers it has killed.
    Begun(Result<Vec<Answered<u32>>, Error>),
    /// What was answered.
    Sent(Outcome),
}

/// A step that ended; `None`: we ended it ourselves.
pub(super) struct Landed {
    pub(super) flight: Flight,
    pub(super) done: Option<Done>,
}

struct Cut {
    is_sent: bool,
    /// Dropped, it ends the step.
    ends: Option<oneshot::Sender<()>>,
}

/// See the module.
pub(super) struct Flights {
    under_way: FuturesUnordered<BoxFuture<'static, Landed>>,
    cuts: HashMap<Sequence, Cut>,
    idle: Vec<Sink>,
    /// What further sinks are made from.
    first: Sink,
}

impl Flights {
    pub(super) fn new(sink: Sink) -> Flights {
        Flights { under_way: FuturesUnordered::new(), cuts: HashMap::new(), idle: vec![sink.another()], first: sink }
    }

    /// Requests in progress.
    pub(super) fn len(&self) -> usize {
        self.cuts.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.cuts.is_empty()
    }

    /// Whether this is the first event of a request in progress.
    pub(super) fn contains(&self, id: Sequence) -> bool {
        self.cuts.contains_key(&id)
    }

    /// A sink without a request, the one that was used last.
    pub(super) fn sink(&mut self) -> Sink {
        self.idle.pop().unwrap_or_else(|| self.first.another())
    }

    /// Keeps a sink for the next request.
    pub(super) fn keep(&mut self, sink: Sink) {
        self.idle.push(sink);
    }

    pub(super) fn begin(&mut self, flight: Flight, step: Step) {
        let (ends, ended) = oneshot::channel();
        self.cuts.insert(flight.head().id, Cut { is_sent: matches!(step, Step::Send), ends: Some(ends) });
        self.under_way.push(fly(flight, step, ended).boxed());
    }

    /// The next step that ends; never, if there is none. Meanwhile it looks after connections without a request.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(super) async fn landed(&mut self) -> Landed {
        let Flights { under_way, idle, .. } = self;
        let landed = tokio::select! {
            biased;
            Some(landed) = under_way.next() => landed,
            never = look_after(idle) => never,
        };
        self.cuts.remove(&landed.flight.head().id);
        landed
    }

    /// Ends this request; it lands.
    pub(super) fn cut(&mut self, id: Sequence) {
        if let Some(cut) = self.cuts.get_mut(&id) {
            cut.ends = None;
        }
    }

    /// Ends every request, or all that were not sent yet.
    pub(super) fn cut_all(&mut self, sent_too: bool) {
        for cut in self.cuts.values_mut().filter(|cut| sent_too || !cut.is_sent) {
            cut.ends = None;
        }
    }
}

async fn look_after(idle: &mut [Sink]) -> Landed {
    join_all(idle.iter_mut().map(Sink::idle)).await;
    std::future::pending().await
}

async fn fly(mut flight: Flight, step: Step, ended: oneshot::Receiver<()>) -> Landed {
    let done = tokio::select! {
        biased;
        done = run(&mut flight, step) => Some(done),
        _ = ended => None,
    };
    Landed { flight, done }
}

async fn run(flight: &mut Flight, step: Step) -> Done {
    match step {
        Step::Alone(place) => Done::Alone(place.acquire_owned().await.ok()),
        Step::Begin(tenure, how) => Done::Begun(begin(&flight.events, &tenure, &how).await),
        Step::Send => Done::Sent(send(&flight.events, &mut flight.sink).await),
    }
}

async fn begin(events: &[Held], tenure: &Tenure, how: &[(bool, bool)]) -> Result<Vec<Answered<u32>>, Error> {
    let begun = events.iter().zip(how).map(|(held, (alone, mine))| tenure.begin(held.id, held.attempts + 1, *alone, *mine));
    join_all(begun).await.into_iter().collect()
}

async fn send(events: &[Held], sink: &mut Sink) -> Outcome {
    let attempts: Vec<Attempt<'_>> = events
        .iter()
        .filter_map(|held| {
            let event = held.event.as_ref().ok()?;
            Some(Attempt { event, sequence: held.id, number: held.attempts + 1, redriven: held.redriven })
        })
        .collect();
    let send = async {
        events.iter().for_each(|held| failpoint::hit("worker.send", held.key()));
        sink.send(&attempts).await
    };
    let outcome = AssertUnwindSafe(send).catch_unwind().await;
    outcome.unwrap_or_else(|_| Outcome::Failed(Failure::new(Class::Internal, "a defect in the sink")))
}
