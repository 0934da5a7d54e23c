//! The operators' lease. Each candidate is a process of its own, with the operator's own role and no more.

use crate::support::eventually::{eventually_within, holds};
use crate::support::guard::{Guard, Process, exit_code};
use crate::support::{Cluster, eventually};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::Client;
use kube::api::Api;
use kube::config::{KubeConfigOptions, Kubeconfig};
use posthorn::generate::rbac;
use posthorn::operator::leader::{Leader, NAME};
use posthorn::operator::metrics::OperatorMetrics;
use posthorn::operator::rbac::OPERATOR;
use posthorn::shutdown::Shutdown;
use posthorn::worker::clock;
use rustix::process::Signal;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// Set for a process that is a candidate: file of its samples, kubeconfig, namespace, name.
const CANDIDATE: &str = "POSTHORN_TEST_CANDIDATE";
/// Exit status of a candidate that lost the lease.
const LOST: i32 = 3;
/// A lease that is not renewed ends after 15 s.
const LEASE_ENDS: Duration = Duration::from_secs(60);

/// Writes the time of the boot clock, in ms, to its file as often as it can while it leads: in place of the writes of an operator.
#[tokio::test]
async fn a_candidate_for_the_other_tests() {
    let Ok(settings) = std::env::var(CANDIDATE) else { return };
    let [file, kubeconfig, namespace, pod] = settings.split('\n').collect::<Vec<_>>().try_into().unwrap();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let leader = Leader::new(Client::try_from(config).unwrap(), namespace, pod, OperatorMetrics::default());
    let (leadership, leadership_told) = (leader.leadership(), leader.leadership());
    let mut samples = std::fs::File::create(file).unwrap();
    std::thread::spawn(move || {
        loop {
            let now = clock::boot().as_millis();
            if leadership.leads() {
                samples.write_all(format!("{now}\n").as_bytes()).unwrap();
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    });
    let mut standing = leadership_told.standing();
    tokio::spawn(async move {
        while standing.changed().await.is_ok() {
            println!("{}", *standing.borrow_and_update());
        }
    });
    let ended = leader.run(Shutdown::on_signals().unwrap()).await;
    std::process::exit(if ended.is_ok() { 0 } else { LOST });
}

/// A release namespace with candidates.
struct Election<'a> {
    cluster: &'a Cluster,
    guard: Arc<Guard>,
    namespace: String,
    account: PathBuf,
}

struct Candidate {
    process: Process,
    samples: PathBuf,
}

impl Election<'_> {
    fn new(cluster: &Cluster) -> Election<'_> {
        let namespace = cluster.namespace("election");
        for object in rbac::objects(&namespace).iter().filter(|object| object["metadata"]["namespace"] == namespace.as_str()) {
            cluster.create(object);
        }
        let account = cluster.service_account(&namespace, OPERATOR);
        Election { cluster, guard: Guard::new("posthorn-election-"), namespace, account }
    }

    fn candidate(&self, pod: &str) -> Candidate {
        let samples = self.guard.file(pod);
        let settings = [&samples.display().to_string(), &self.account.display().to_string(), &self.namespace, pod].map(ToString::to_string);
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "leader::a_candidate_for_the_other_tests", "--nocapture"]).env(CANDIDATE, settings.join("\n"));
        Candidate { process: self.guard.spawn(&mut command, &format!("{pod}.log")), samples }
    }

    async fn lease(&self) -> LeaseSpec {
        let leases: Api<Lease> = Api::namespaced(self.cluster.client().await, &self.namespace);
        leases.get(NAME).await.unwrap().spec.unwrap()
    }
}

impl Candidate {
    /// When it led, ms of the boot clock.
    fn led(&self) -> Vec<u64> {
        let text = std::fs::read_to_string(&self.samples).unwrap_or_default();
        text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')?.parse().ok()).collect()
    }

    /// Waits until it leads, later than a time.
    async fn leads_after(&self, time: u64) -> u64 {
        eventually_within(LEASE_ENDS, "it leads", async || self.led().into_iter().find(|at| *at > time).ok_or_else(|| self.process.log()))
            .await
    }

    async fn ends(&mut self) -> i32 {
        let status = eventually_within(LEASE_ENDS, "it ends", async || self.process.ended().ok_or_else(|| "it runs".to_owned())).await;
        exit_code(status)
    }
}

fn now() -> u64 {
    u64::try_from(clock::boot().as_millis()).unwrap()
}

fn never_at_once(before: &Candidate, after: &Candidate) {
    let (last, first) = (before.led().into_iter().max().unwrap(), after.led().into_iter().min().unwrap());
    assert!(last < first, "one led until {last}, the other from {first}");
}

#[tokio::test]
async fn one_leads_and_the_other_follows_when_it_is_killed() {
    let election = Election::new(Cluster::shared().await);
    let mut first = election.candidate("first");
    first.leads_after(0).await;
    let second = election.candidate("second");
    eventually("the second stands by", async || holds(second.process.log().contains("standing by: first_"), || second.process.log())).await;
    let renewed = election.lease().await.renew_time;
    eventually("the lease is renewed", async || holds(election.lease().await.renew_time != renewed, String::new)).await;
    assert!(second.led().is_empty());
    first.process.kill9();
    second.leads_after(0).await;
    never_at_once(&first, &second);
    let lease = election.lease().await;
    assert_eq!(lease.lease_transitions, Some(1));
    assert!(lease.holder_identity.is_some_and(|holder| holder.starts_with("second_")));
}

#[tokio::test]
async fn a_leader_that_was_stopped_for_long_finds_out_before_it_writes() {
    let election = Election::new(Cluster::shared().await);
    let mut first = election.candidate("first");
    first.leads_after(0).await;
    let second = election.candidate("second");
    first.process.signal(Signal::STOP);
    second.leads_after(0).await;
    first.process.signal(Signal::CONT);
    assert_eq!(first.ends().await, LOST, "{}", first.process.log());
    never_at_once(&first, &second);
    second.leads_after(now()).await;
}

#[tokio::test]
async fn a_leader_that_is_told_to_end_releases_the_lease() {
    let cluster = Cluster::shared().await;
    let election = Election::new(cluster);
    let mark = cluster.mark();
    let mut first = election.candidate("first");
    first.leads_after(0).await;
    let second = election.candidate("second");
    first.process.signal(Signal::TERM);
    assert_eq!(first.ends().await, 0, "{}", first.process.log());
    second.leads_after(0).await;
    never_at_once(&first, &second);
    let mut requests = cluster.requests_since(mark);
    requests.retain(|request| request.namespace() == election.namespace && request.is_write() && request.resource() == "leases");
    let released = requests.iter().filter(|request| request.code() == 200 && request.request_object["spec"]["holderIdentity"].is_null());
    assert_eq!(released.count(), 1);
}

#[tokio::test]
async fn a_lease_that_was_taken_or_deleted_ends_its_holder() {
    let cluster = Cluster::shared().await;
    for change in [&["patch", "--type=merge", "-p", r#"{"spec":{"holderIdentity":"someone"}}"#][..], &["delete"]] {
        let election = Election::new(cluster);
        let mut only = election.candidate("only");
        only.leads_after(0).await;
        cluster.ok(&[&change[..1], &["lease", NAME, "-n", &election.namespace], &change[1..]].concat());
        assert_eq!(only.ends().await, LOST, "{}", only.process.log());
    }
}

#[tokio::test]
async fn without_an_api_server_nobody_leads_for_long_and_the_leader_leads_on_when_it_is_back() {
    let mut cluster = Cluster::bare().await;
    let election = Election::new(&cluster);
    let Election { guard, namespace, account, .. } = election;
    let only =
        Election { cluster: &cluster, guard: guard.clone(), namespace: namespace.clone(), account: account.clone() }.candidate("only");
    only.leads_after(0).await;
    cluster.kill9();
    eventually_within(LEASE_ENDS, "it does not lead any more", async || {
        holds(only.process.log().contains("waiting for the lease: "), || only.process.log())
    })
    .await;
    let stopped = now();
    cluster.resume().await;
    only.leads_after(stopped).await;
    let lease = Election { cluster: &cluster, guard, namespace, account }.lease().await;
    assert_eq!(lease.lease_transitions, Some(0), "it was never taken");
}
