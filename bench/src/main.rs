//! Benchmarks of Posthorn beside their ceilings, in one run, in pairs. README.md says what each means.
//!
//! `posthorn-bench` alone runs them all; the other words are the processes that it starts: a sink, a raw client, a server that stores nothing.

mod fifo;
mod ingest;
mod load;
mod process;
mod raw;
mod sink;

use std::net::SocketAddr;

#[tokio::main]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let address = |text: &str| text.parse::<SocketAddr>().expect("an address like 127.0.0.1:9000");
    let number = |text: &str| text.parse::<usize>().expect("a number");
    match words.as_slice() {
        ["sink", listen] => sink::serve(address(listen)).await,
        ["raw", to, tasks, requests] => raw::run(address(to), number(tasks), number(requests)).await,
        ["no-store", listen] => ingest::no_store(address(listen)).await,
        ["load", to, senders, requests] => load::print(address(to), number(senders), number(requests)).await,
        [] => all(5).await,
        [rounds] => all(number(rounds)).await,
        _ => panic!("posthorn-bench [ROUNDS]"),
    }
}

async fn all(rounds: usize) {
    println!("{:<4} {:<58} {:>12} {:>12} {:>7}", "", "", "posthorn", "ceiling", "ratio");
    fifo::one_destination(rounds).await;
    fifo::ten_destinations(rounds).await;
    ingest::everysec(rounds).await;
}

/// One line of the table: medians of the pairs, and the median of their ratios.
fn line(id: &str, what: &str, pairs: &[(f64, f64)]) {
    let median = |values: Vec<f64>| {
        let mut values = values;
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let ours = median(pairs.iter().map(|(ours, _)| *ours).collect());
    let ceiling = median(pairs.iter().map(|(_, ceiling)| *ceiling).collect());
    let ratio = median(pairs.iter().map(|(ours, ceiling)| ours / ceiling).collect());
    println!("{id:<4} {what:<58} {ours:>10.0}/s {ceiling:>10.0}/s {ratio:>7.2}");
}
