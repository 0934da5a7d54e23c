//! What to do about a destination, in plain words for each state. Pure.

use crate::bus::state::Snapshot;
use crate::plan::{OnOverflow, Route, RouteState};
use crate::status;

/// What to do, the most pressing first; never empty.
pub(super) fn advice(snapshot: &Snapshot, route: &Route) -> Vec<String> {
    let name = route.full_name();
    let mut advice: Vec<String> = Vec::new();
    if let Some(missing) = &route.unresolved {
        advice.push(format!(
            "Mend what it refers to: {}. Its events are queued and wait; it goes on by itself.",
            missing.message.trim_end_matches('.')
        ));
    }
    if route.state == RouteState::Closed {
        advice.push("It is being deleted: what waits is still delivered (deletionPolicy: Drain), nothing new is taken. Wait.".to_owned());
    }
    advice.extend(delivery(&name, snapshot, route));
    if let Some(fill) = snapshot.fill {
        advice.push(format!(
            "Its queue is full or being filled: events after {} wait in the bus, as long as the bus keeps them (retention in posthorn.yaml). Mend or speed \
             up the receiver; what the bus no longer keeps is dropped and counted.",
            fill.padded()
        ));
    }
    if status::data_lost(snapshot).is_some() {
        advice.push("Events are gone because somebody deleted its keys from Redis (or Redis lost its data): find out who, and send those events again.".to_owned());
    }
    if snapshot.dropped > 0 {
        advice.push(dropped(snapshot, route));
    }
    if snapshot.dead_letters > 0 {
        advice.push(format!(
            "{} events were given up: posthorn dead list {name} shows why; posthorn dead redrive {name} delivers them again once the cause is mended.",
            snapshot.dead_letters
        ));
    }
    if snapshot.routed == 0 && route.unresolved.is_none() {
        advice.push("No event has matched its filters yet. If some should have: posthorn dry-run tells which clause decides.".to_owned());
    }
    if advice.is_empty() {
        advice.push("Nothing: it delivers.".to_owned());
    }
    advice
}

/// What follows from the state of its delivery.
fn delivery(name: &str, snapshot: &Snapshot, route: &Route) -> Option<String> {
    let class = snapshot.head.as_ref().and_then(|head| head.class.as_deref()).unwrap_or_default();
    match status::delivering(snapshot, route).reason.as_str() {
        "Halted" => Some(halted(name, snapshot.halted.as_ref().map_or(class, |(reason, _)| reason), class)),
        "Blocked" => Some(blocked(name, snapshot, class)),
        "Retrying" => Some(format!("{} It is tried again by itself; posthorn retry {name} tries it now.", cause(class))),
        "Suspended" => Some("Delivery is suspended and events accumulate: set spec.suspend to false to go on.".to_owned()),
        "NoWorker" => Some(
            "The worker that ran it is gone, its events wait. Standalone: start it again (posthorn standalone DIR). In a cluster: look at the pods of its \
             worker and at those of the operator (kubectl get pods, kubectl describe)."
                .to_owned(),
        ),
        "Pending" if route.unresolved.is_some() => None,
        "Pending" => Some(
            "No worker has run it yet. That takes some seconds; after that, look at the logs of the worker (or standalone) and of the operator.".to_owned(),
        ),
        "RateLimited" => Some("It delivers as fast as its spec allows (limits.rate). Raise that if the backlog grows.".to_owned()),
        "KeyBacklogFull" => {
            Some("Too many events wait behind keys that fail: mend the receiver for those keys, or skip their oldest events.".to_owned())
        }
        _ => None,
    }
}

fn halted(name: &str, reason: &str, class: &str) -> String {
    let again = format!("It is tried every few minutes, and at once by posthorn retry {name}; the first success ends the halt.");
    match reason {
        "AuthRejected" => {
            format!(
                "The receiver refuses the credentials: correct them in the Secret that spec.sink.http refers to; a changed Secret is tried at once. {again}"
            )
        }
        "Gone" => format!(
            "The receiver answered 410, it wants no more: correct the address, or delete the destination. It is not tried by itself; posthorn retry {name} \
             tries it now."
        ),
        "StatusCode" => {
            format!(
                "The receiver answered with one of spec.sink.http.haltOnStatusCodes: mend the receiver, or correct its address or the list. {again}"
            )
        }
        "DestinationFailing" => {
            format!("Several events in a row were given up because the receiver does not work. {} {again}", cause(class))
        }
        "EventsRefused" => format!(
            "The receiver refuses every event: it, or the choice of events, is wrong. posthorn dead show {name} SEQUENCE shows one of them; correct \
             spec.filters, spec.sink.http.format or the receiver. {again}"
        ),
        "AddressDenied" => format!(
            "Its address is one that workers may not reach: correct spec.sink.http.uri, or have the admin allow it (--egress-allow). {again}"
        ),
        "AskedByReceiver" => format!("The receiver asked for it by the header posthorn-directive: ask those who run it. {again}"),
        _ => format!("{} {again}", cause(class)),
    }
}

fn blocked(name: &str, snapshot: &Snapshot, class: &str) -> String {
    let sequence = snapshot.head.as_ref().map(|head| head.sequence.padded()).unwrap_or_default();
    format!(
        "Its oldest event was given up, and spec.delivery.onExhausted is Block, so nothing overtakes it. {} Then posthorn retry {name}; or give this \
         event up: posthorn skip {name} --sequence {sequence}.",
        cause(class)
    )
}

fn dropped(snapshot: &Snapshot, route: &Route) -> String {
    let how = match route.limit.map(|limit| limit.on_overflow) {
        Some(OnOverflow::DropNewest) => "limits.backlog drops the newest when it is full",
        Some(OnOverflow::DropOldest) => "limits.backlog drops the oldest when it is full",
        None => "by onExhausted: Drop, or because the bus no longer kept them",
    };
    format!("{} events were dropped since it exists ({how}). They are gone; if that was not meant, raise the limit.", snapshot.dropped)
}

/// What to look at, by the class of the last failure.
fn cause(class: &str) -> &'static str {
    match class {
        "DnsFailed" => "The name of the receiver's host cannot be resolved: correct spec.sink.http.uri, or mend DNS.",
        "ConnectionRefused" => {
            "Nothing listens at the receiver's address: start the receiver, or correct host and port in spec.sink.http.uri."
        }
        "ConnectionFailed" => "The receiver cannot be reached: look at routes, firewalls and network policies between worker and receiver.",
        "TlsFailed" => {
            "No TLS session comes about: look at the receiver's certificate, and at spec.sink.http.tls (caBundleRef, serverName)."
        }
        "Timeout" => "The receiver does not answer in time: speed it up, or raise spec.delivery.timeout.",
        "ConnectionReset" => "The receiver closes the connection before it has answered: look at its logs and at proxies on the way.",
        "InvalidResponse" => "What answers there does not speak HTTP: look at host, port and scheme of spec.sink.http.uri.",
        "RedirectRefused" => "The receiver redirects, which is never followed: put the address that it names into spec.sink.http.uri.",
        "AuthRejected" => "The receiver refuses the credentials: correct them in the Secret that spec.sink.http refers to.",
        "TokenRefused" => "The token endpoint refuses the client: correct spec.sink.http.auth.oauth2 and its Secret.",
        "TokenUnavailable" => "The token endpoint (spec.sink.http.auth.oauth2.tokenURI) cannot be reached or is in trouble.",
        "NotFound" | "MethodNotAllowed" => "The receiver has no such path for POST: correct spec.sink.http.uri.",
        "TooManyRequests" => {
            "The receiver wants fewer requests: its Retry-After is honoured; spec.limits.rate sends fewer from the beginning."
        }
        "RequestTimeout" | "Conflict" | "TooEarly" | "ServerError" => "The receiver is in trouble: look at its logs.",
        "PayloadTooLarge" | "UriTooLong" => "The event is too large for the receiver: raise its limit.",
        "UnsupportedMediaType" => "The receiver does not take this media type: look at spec.sink.http.format, and at what producers send.",
        "BadRequest" | "Unprocessable" | "ClientError" => {
            "The receiver refuses this event: look at its logs, and at the event (posthorn dry-run shows the request)."
        }
        "AddressDenied" => "Its address is one that workers may not reach: correct it, or have the admin allow it (--egress-allow).",
        "WorkerDied" => "The worker died while it tried this event: look at its logs and its memory limit.",
        _ => "Look at the last error above, and at the receiver's logs.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::state::Head;
    use crate::event::Sequence;
    use crate::plan::Unresolved;
    use crate::status::tests::route;
    use crate::worker::attempt::{Class, Level};

    fn running(state: &str, class: &str) -> Snapshot {
        let head = Head {
            sequence: Sequence { ms: 7, seq: 1 },
            id: "e".into(),
            event_type: "t".into(),
            attempts: 3,
            first: None,
            next: None,
            code: None,
            class: Some(class.into()),
            message: None,
        };
        Snapshot {
            owned: true,
            state: Some(state.into()),
            reported: Some(1),
            routed: 1,
            backlog: 1,
            head: Some(head),
            ..Snapshot::default()
        }
    }

    fn first(snapshot: &Snapshot, route: &Route) -> String {
        advice(snapshot, route).swap_remove(0)
    }

    #[test]
    fn each_state_has_something_to_do() {
        let halted = |reason: &str| Snapshot { halted: Some((reason.into(), 1)), ..running("Halted", "ServerError") };
        let cases = [
            (running("Retrying", "DnsFailed"), "cannot be resolved"),
            (running("Retrying", "DnsFailed"), "posthorn retry default/billing"),
            (running("Blocked", "Unprocessable"), "posthorn skip default/billing --sequence 0000000000000007-0000000001"),
            (running("Suspended", ""), "spec.suspend"),
            (running("RateLimited", ""), "limits.rate"),
            (halted("AuthRejected"), "credentials"),
            (halted("Gone"), "410"),
            (halted("StatusCode"), "haltOnStatusCodes"),
            (halted("DestinationFailing"), "in trouble"),
            (halted("EventsRefused"), "refuses every event"),
            (halted("AddressDenied"), "--egress-allow"),
            (halted("AskedByReceiver"), "ask those who run it"),
            (halted("OfANewerVersion"), "posthorn retry"),
            (Snapshot { owned: false, ..running("Active", "") }, "is gone"),
            (Snapshot { routed: 1, ..Snapshot::default() }, "No worker has run it yet"),
            (Snapshot { fill: Some(Sequence { ms: 1, seq: 0 }), ..running("Active", "") }, "wait in the bus"),
            (Snapshot { data_lost: Some(1), ..running("Active", "") }, "deleted its keys"),
            (Snapshot { dropped: 2, ..running("Active", "") }, "2 events were dropped"),
            (Snapshot { dead_letters: 2, ..running("Idle", "") }, "posthorn dead redrive default/billing"),
            (Snapshot { routed: 0, ..running("Idle", "") }, "posthorn dry-run"),
            (running("Idle", ""), "Nothing: it delivers."),
        ];
        for (snapshot, expected) in cases {
            let said = first(&snapshot, &route());
            assert!(said.contains(expected), "{expected}: {said}");
        }
        let unresolved = Unresolved { reason: "SecretNotFound".into(), message: "no Secret a".into() };
        assert!(first(&Snapshot::default(), &Route { unresolved: Some(unresolved), ..route() }).contains("no Secret a"));
        assert!(first(&running("Idle", ""), &Route { state: RouteState::Closed, ..route() }).contains("being deleted"));
    }

    #[test]
    fn every_failure_of_a_receiver_says_what_to_look_at() {
        let unknown = cause("");
        for class in Class::ALL.into_iter().filter(|class| class.level() == Level::Event || class.level() == Level::Destination) {
            // these halt at once, and are answered there
            if !matches!(class.as_str(), "Gone" | "HaltedByReceiver") {
                assert_ne!(cause(class.as_str()), unknown, "{class}");
            }
        }
    }
}
