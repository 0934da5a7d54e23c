//! OAuth 2.0 client credentials and certificates, from the folder to the receiver.

use super::Place;
use super::secrets::certified;
use crate::delivery::scene::{destination, secret};
use crate::support::client::Post;
use crate::support::eventually;
use crate::support::eventually::holds;
use posthorn::receiver::{Answer, Behaviour, Receiver};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A destination that sends to a receiver with tokens of an endpoint.
fn with_tokens(receiver: &Receiver, endpoint: &Receiver) -> Value {
    let mut destination = destination("a", &format!("https://{}/", receiver.addr), json!({}));
    destination["spec"]["sink"]["http"]["tls"] = json!({"caBundleRef": {"name": "authority"}});
    destination["spec"]["sink"]["http"]["auth"] = json!({"oauth2": {
        "tokenURI": format!("https://{}/token", endpoint.addr), "clientID": "shop", "scopes": ["events"],
        "clientSecretKeyRef": {"name": "client", "key": "secret"},
    }});
    destination
}

fn granted(number: usize) -> Answer {
    let body = json!({"access_token": format!("canary-token-{number}"), "token_type": "Bearer", "expires_in": 3600}).to_string();
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    Answer::Response { status: 200, headers, body: body.into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_go_out_with_a_token_that_is_replaced_when_the_receiver_refuses_it() {
    let (config, authority) = certified();
    let config = Arc::new(config);
    let asked = AtomicUsize::new(0);
    let endpoint = Behaviour::new(move |_| granted(asked.fetch_add(1, Ordering::Relaxed) + 1));
    let endpoint = Receiver::start_tls(Arc::clone(&config), endpoint).await.unwrap();
    // the first token ends early
    let accepts = Behaviour::new(|seen| {
        let first = seen.header("authorization") == Some("Bearer canary-token-1");
        Answer::Status(if first && seen.number > 2 { 401 } else { 204 })
    });
    let receiver = Receiver::start_tls(config, accepts).await.unwrap();
    let client = secret("client", json!({"secret": "canary-client-secret"}));
    let place = Place::start_with(&[authority, client, with_tokens(&receiver, &endpoint)], &[("POSTHORN_LOG", "trace")]).await;
    let mut client = place.client();
    for number in 1..=4 {
        client.post_until_accepted(&Post::numbered(number)).await;
    }
    place.settled("a").await;
    assert!(receiver.log().iter().all(|seen| seen.attempt() == Some(1)), "the refused token did not count");
    assert_eq!(endpoint.count(), 2);
    let tokens: Vec<_> = receiver.log().iter().map(|seen| seen.header("authorization").unwrap().to_owned()).collect();
    assert_eq!(tokens, [1, 1, 1, 2, 2].map(|number| format!("Bearer canary-token-{number}")));
    assert!(!place.standalone.log().contains("canary"));
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_credentials_halt_the_destination_and_say_whose_they_are() {
    let (config, authority) = certified();
    let config = Arc::new(config);
    let body = r#"{"error":"invalid_client","error_description":"canary"}"#.into();
    let refuses = Answer::Response { status: 401, headers: Vec::new(), body };
    let endpoint = Receiver::start_tls(Arc::clone(&config), Behaviour::always(refuses)).await.unwrap();
    let receiver = Receiver::start_tls(config, Behaviour::ok()).await.unwrap();
    let client = |value: &str| secret("client", json!({"secret": value}));
    let place = Place::start(&[authority, client("canary-wrong"), with_tokens(&receiver, &endpoint)]).await;
    place.client().post_until_accepted(&Post::numbered(1)).await;
    place.line(&["WARN", "halted", "AuthRejected", "token endpoint 127.0.0.1", "invalid_client"]).await;
    assert_eq!(receiver.count(), 0);
    assert!(!place.standalone.log().contains("canary"));

    // a new secret is a new plan
    endpoint.set_behaviour(Behaviour::always(granted(1)));
    std::fs::write(place.file("client"), client("right").to_string()).unwrap();
    place.settled("a").await;
    assert_eq!(receiver.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn any_certificate_is_accepted_only_where_the_admin_says_so() {
    let (config, _) = certified();
    let receiver = Receiver::start_tls(Arc::new(config), Behaviour::ok()).await.unwrap();
    let mut insecure = destination("a", &format!("https://{}/", receiver.addr), json!({}));
    insecure["spec"]["sink"]["http"]["tls"] = json!({"insecureSkipVerify": true});
    let place = Place::start(&[insecure.clone()]).await;
    place.line(&["WARN", "insecureSkipVerify", "--allow-insecure-tls"]).await;
    place.client().post_until_accepted(&Post::numbered(1)).await;
    eventually("a backlog", async || {
        let queued = crate::support::stored::stored(&place.redis(), "default", "default/a").queued.len();
        holds(queued == 1, || queued.to_string())
    })
    .await;
    assert_eq!(receiver.count(), 0);
    drop(place);

    let place = Place::start_with(&[insecure], &[("POSTHORN_ALLOW_INSECURE_TLS", "true")]).await;
    place.client().post_until_accepted(&Post::numbered(1)).await;
    place.settled("a").await;
    assert_eq!(receiver.count(), 1);
}
