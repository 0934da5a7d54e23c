//! One standalone on a data directory.

use super::Place;
use crate::delivery::scene::destination;
use crate::support::Posthorn;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_second_standalone_on_a_data_directory_is_refused_with_the_pid_of_the_first() {
    let mut place = Place::start(&[destination("a", "http://127.0.0.1:1/", json!({}))]).await;
    let (folder, data) = (place.dir.path().join("folder"), place.data());
    let (folder, data) = (folder.to_str().unwrap(), data.to_str().unwrap());
    let any = "127.0.0.1:0";
    let output = Posthorn::run(&["standalone", folder, "--data-dir", data, "--listen", any, "--admin-listen", any]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("(pid {})", place.standalone.pid())) && said.contains("--data-dir"), "{said}");
    assert!(place.standalone.runs());
    assert!(place.page("/readyz").await.contains("[+]redis ok"));
}
