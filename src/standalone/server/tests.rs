use super::*;

/// Longest wait for something that must happen.
const SOON: Duration = Duration::from_secs(20);

async fn start(data_dir: &Path) -> PrivateServer {
    let options = ServerOptions { max_memory: Some(64 << 20), ..ServerOptions::default() };
    PrivateServer::start(data_dir, options, &Shutdown::new()).await.expect("redis-server is installed")
}

/// Asks until there is an answer: a server that was killed comes back.
async fn eventually(socket: &Path, command: &[&str]) -> Reply {
    let begin = Instant::now();
    loop {
        match ask(socket, command, ANSWER).await {
            Ok(reply) if !matches!(&reply, Reply::Error(text) if text.starts_with("LOADING")) => return reply,
            other => assert!(begin.elapsed() < SOON, "{other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn pid(socket: &Path) -> u32 {
    let Reply::Text(info) = eventually(socket, &["INFO", "server"]).await else { panic!("INFO is a text") };
    info.lines().find_map(|line| line.strip_prefix("process_id:")).expect("INFO names the pid").parse().expect("a number")
}

fn kill(pid: u32) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("a pid is not 0");
    rustix::process::kill_process(pid, Signal::KILL).expect("it is our child");
}

/// What `kill -9` does to us: the server stays, nobody keeps it.
async fn vanish(server: PrivateServer) {
    server.end.cancel();
    std::mem::forget(server.keeper.await.expect("the keeper does not panic"));
}

#[tokio::test]
async fn it_is_durable_and_private() {
    let base = tempfile::tempdir().expect("a temporary directory");
    let server = start(base.path()).await;
    for (name, value) in [
        ("port", "0"),
        ("appendonly", "yes"),
        ("appendfsync", "always"),
        ("save", ""),
        ("maxmemory-policy", "noeviction"),
        ("maxmemory", "67108864"),
        ("unixsocketperm", "700"),
    ] {
        let reply = eventually(&server.socket, &["CONFIG", "GET", name]).await;
        assert_eq!(reply, Reply::List(vec![name.into(), value.into()]));
    }
    assert_eq!(server.url(), format!("unix://{}/redis/redis.sock", base.path().display()));
    let socket = server.socket.clone();
    server.stop().await.expect("it ends");
    ask(&socket, &["PING"], ANSWER).await.expect_err("nobody listens");
}

#[tokio::test]
async fn a_server_that_is_killed_comes_back_with_its_data() {
    let base = tempfile::tempdir().expect("a temporary directory");
    let server = start(base.path()).await;
    for round in 0..3 {
        let value = round.to_string();
        eventually(&server.socket, &["SET", "k", &value]).await;
        let before = pid(&server.socket).await;
        kill(before);
        assert_eq!(eventually(&server.socket, &["GET", "k"]).await, Reply::Text(value));
        assert_ne!(pid(&server.socket).await, before);
    }
    server.stop().await.expect("it ends");
}

#[tokio::test]
async fn a_server_left_behind_is_adopted_and_kept() {
    let base = tempfile::tempdir().expect("a temporary directory");
    let first = start(base.path()).await;
    eventually(&first.socket, &["SET", "k", "v"]).await;
    let left = pid(&first.socket).await;
    vanish(first).await;

    let second = start(base.path()).await;
    assert_eq!(pid(&second.socket).await, left);
    kill(left);
    assert_eq!(eventually(&second.socket, &["GET", "k"]).await, Reply::Text("v".into()));
    vanish(second).await;

    let third = start(base.path()).await;
    third.stop().await.expect("an adopted server is stopped too");
    let fourth = start(base.path()).await;
    assert_eq!(eventually(&fourth.socket, &["GET", "k"]).await, Reply::Text("v".into()));
    fourth.stop().await.expect("it ends");
}

#[tokio::test]
async fn a_long_path_with_odd_characters_works() {
    let base = tempfile::tempdir().expect("a temporary directory");
    let odd = base.path().join(format!("a \"b\" é {}", "x".repeat(90)));
    let server = start(&odd).await;
    eventually(&server.socket, &["SET", "k", "v"]).await;
    vanish(server).await;
    let server = start(&odd).await;
    assert_eq!(eventually(&server.socket, &["GET", "k"]).await, Reply::Text("v".into()));
    let runtime = server.socket.parent().expect("it is in a directory").to_owned();
    assert!(!runtime.starts_with(base.path()));
    server.stop().await.expect("it ends");
    assert!(!runtime.exists());
}

#[tokio::test]
async fn damaged_data_is_an_error_that_says_so() {
    let base = tempfile::tempdir().expect("a temporary directory");
    start(base.path()).await.stop().await.expect("it ends");
    let manifest = base.path().join("redis/appendonlydir/appendonly.aof.manifest");
    std::fs::write(manifest, "nonsense\n").expect("writable");
    let error = PrivateServer::start(base.path(), ServerOptions::default(), &Shutdown::new()).await.expect_err("it cannot load");
    assert!(matches!(&error, Error::Ended(_)), "{error}");
    assert!(error.to_string().contains("AOF"), "{error}");
}

#[tokio::test]
async fn a_server_that_answers_nothing_is_not_doubled_and_ends_when_it_can() {
    let base = tempfile::tempdir().expect("a temporary directory");
    let server = start(base.path()).await;
    let pid = pid(&server.socket).await;
    let raw = Pid::from_raw(pid.cast_signed()).expect("a pid is not 0");
    rustix::process::kill_process(raw, Signal::STOP).expect("it is our child");
    assert!(Files::prepare(base.path()).expect("there").try_lock().expect("readable").is_none(), "its files are still taken");
    rustix::process::kill_process(raw, Signal::CONT).expect("it is our child");
    assert_eq!(self::pid(&server.socket).await, pid);
    server.stop().await.expect("it ends");
}
