use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn file(size: usize) -> PlanFile {
    PlanFile { id: "p".into(), namespace: "n".into(), name: "d".into(), json: vec![b'x'; size].into() }
}

/// What the API server holds.
#[derive(Clone, Debug, Default)]
struct Cluster(BTreeMap<u32, Files>);

impl Cluster {
    fn write(&mut self, placement: &mut Placement, number: u32) {
        let contents = placement.contents(number).unwrap();
        self.finish(placement, number, contents);
    }

    /// Ends a write: what is to be written may be another by now.
    fn finish(&mut self, placement: &mut Placement, number: u32, contents: Contents) {
        assert_bounds(&contents.files);
        if contents.files.is_empty() {
            self.0.remove(&number);
            placement.deleted(number);
        } else {
            self.0.insert(number, contents.files);
            placement.written(number, contents.revision);
        }
    }

    /// Writes until nothing is to be written.
    fn flush(&mut self, placement: &mut Placement, runs: impl Fn(u32) -> bool) {
        loop {
            placement.leave(&runs);
            let Some(number) = placement.due().next() else { return };
            self.write(placement, number);
        }
    }

    fn places(&self, uid: &str) -> Vec<u32> {
        self.0.iter().filter(|(_, files)| files.contains_key(uid)).map(|(number, _)| *number).collect()
    }
}

fn assert_bounds(files: &Files) {
    let bytes: usize = files.values().map(|file| file.json.len()).sum();
    assert!(files.len() <= MOST_PLANS && (bytes <= MOST_BYTES || files.len() == 1), "{} plans, {bytes} bytes", files.len());
}

#[test]
fn a_plan_goes_into_the_first_pool_with_room_and_stays() {
    let mut placement = Placement::default();
    for number in 0..u32::try_from(MOST_PLANS).unwrap() {
        assert_eq!(placement.put(&format!("u{number}"), file(100)), 0);
    }
    assert_eq!(placement.put("next", file(100)), 1);
    placement.remove("u3");
    assert_eq!(placement.put("next", file(200)), 1, "it has a home");
    assert_eq!(placement.put("other", file(100)), 0);
}

#[test]
fn a_large_plan_has_a_pool_to_itself() {
    let mut placement = Placement::default();
    assert_eq!(placement.put("large", file(MOST_BYTES + 1)), 0);
    assert_eq!(placement.put("small", file(1)), 1);
    assert_eq!(placement.put("large", file(10)), 0);
    assert_eq!(placement.put("third", file(1)), 0, "there is room again");
}

#[test]
fn a_plan_that_outgrows_its_pool_is_in_the_new_one_before_it_leaves_the_old() {
    let (mut placement, mut cluster) = (Placement::default(), Cluster::default());
    placement.put("a", file(MOST_BYTES / 2));
    placement.put("b", file(MOST_BYTES / 2));
    cluster.flush(&mut placement, |_| true);
    assert_eq!(placement.put("b", file(MOST_BYTES / 2 + 1)), 1);
    assert!(!placement.is_written("b"));
    cluster.flush(&mut placement, |number| number != 1);
    assert_eq!(cluster.places("b"), [0, 1], "the new pool does not run yet");
    assert!(placement.is_written("b"));
    cluster.flush(&mut placement, |_| true);
    assert_eq!(cluster.places("b"), [1]);
}

#[test]
fn an_empty_pool_goes_away_unless_it_is_needed_again_meanwhile() {
    let (mut placement, mut cluster) = (Placement::default(), Cluster::default());
    placement.put("a", file(1));
    cluster.flush(&mut placement, |_| true);
    assert!(placement.remove("a") && !placement.remove("a"));
    assert!(placement.contents(0).unwrap().files.is_empty());
    placement.put("b", file(1));
    placement.deleted(0);
    assert_eq!(placement.due().collect::<Vec<_>>(), [0]);
    placement.remove("b");
    cluster.flush(&mut placement, |_| true);
    assert!(placement.contents(0).is_none() && cluster.0.is_empty());
}

#[test]
fn only_what_changed_is_to_be_told() {
    let (mut placement, mut cluster) = (Placement::default(), Cluster::default());
    placement.put("a", file(1));
    placement.put("b", file(1));
    assert_eq!(placement.contents(0).unwrap().changed, ["a", "b"]);
    cluster.flush(&mut placement, |_| true);
    placement.put("a", file(1));
    assert_eq!(placement.due().count(), 0, "the same again");
    placement.put("b", file(2));
    assert_eq!(placement.contents(0).unwrap().changed, ["b"]);
    cluster.flush(&mut placement, |_| true);
    placement.touch(0);
    let contents = placement.contents(0).unwrap();
    assert_eq!((placement.due().count(), contents.changed.len(), contents.files.len()), (1, 0, 2), "someone else changed it");
}

#[test]
fn a_file_tells_whose_plan_it_is() {
    let json = br#"{"id":"p1","uid":"u","namespace":"shop","name":"billing","new in a later version":1}"#;
    let file = PlanFile::read(json).unwrap();
    assert_eq!((file.id.as_str(), file.namespace.as_str(), file.name.as_str(), &*file.json), ("p1", "shop", "billing", &json[..]));
    assert_eq!(PlanFile::read(b"{}"), None);
    assert!(!format!("{file:?}").contains("later"));
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8, usize),
    Remove(u8),
    /// Writes one of the pools that are due, or begins to: what changes before it ends comes between.
    Write(prop::sample::Index),
    Begin(prop::sample::Index),
    End,
    Leave(u8),
    Touch(u8),
    Flush,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![4 => 1..5_000usize, 2 => 20_000..120_000usize, 1 => MOST_BYTES - 5..MOST_BYTES + 5];
    prop_oneof![
        12 => (0..100u8, size).prop_map(|(uid, size)| Step::Put(uid, size)),
        3 => (0..100u8).prop_map(Step::Remove),
        4 => any::<prop::sample::Index>().prop_map(Step::Write),
        2 => any::<prop::sample::Index>().prop_map(Step::Begin),
        2 => Just(Step::End),
        2 => (0..5u8).prop_map(Step::Leave),
        1 => (0..5u8).prop_map(Step::Touch),
        1 => Just(Step::Flush),
        1 => Just(Step::Restart),
    ]
}

fn one_of_due(placement: &Placement, index: prop::sample::Index) -> Option<u32> {
    let due: Vec<u32> = placement.due().collect();
    (!due.is_empty()).then(|| *index.get(&due))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_is_always_in_a_pool_and_in_the_end_in_one(steps in prop::collection::vec(step(), 1..250)) {
        let (mut placement, mut cluster) = (Placement::default(), Cluster::default());
        let (mut wanted, mut written) = (BTreeMap::<String, usize>::new(), BTreeSet::<String>::new());
        let mut begun: Option<(u32, Contents)> = None;
        for step in steps {
            match step {
                Step::Put(uid, size) => {
                    let uid = uid.to_string();
                    placement.put(&uid, file(size));
                    wanted.insert(uid, size);
                }
                Step::Remove(uid) => {
                    placement.remove(&uid.to_string());
                    wanted.remove(&uid.to_string());
                    written.remove(&uid.to_string());
                }
                // a pool is written by one at a time
                Step::Write(index) if begun.is_none() => {
                    if let Some(number) = one_of_due(&placement, index) {
                        cluster.write(&mut placement, number);
                    }
                }
                Step::Begin(index) if begun.is_none() => {
                    begun = one_of_due(&placement, index).map(|number| (number, placement.contents(number).unwrap()));
                }
                Step::End => if let Some((number, contents)) = begun.take() {
                    cluster.finish(&mut placement, number, contents);
                },
                Step::Leave(stopped) => placement.leave(|number| number != u32::from(stopped)),
                Step::Touch(number) => placement.touch(u32::from(number)),
                Step::Flush if begun.is_none() => cluster.flush(&mut placement, |_| true),
                Step::Restart => {
                    begun = None;
                    placement = Placement::load(cluster.0.clone());
                    // those that were not written yet are told again
                    for (uid, size) in &wanted {
                        placement.put(uid, file(*size));
                    }
                    // and those that were removed are found by the sweep
                    let found: Vec<String> = placement.plans().map(|(uid, _)| uid.to_owned()).collect();
                    for uid in found.iter().filter(|uid| !wanted.contains_key(*uid)) {
                        placement.remove(uid);
                    }
                }
                Step::Write(_) | Step::Begin(_) | Step::Flush => {}
            }
            written.extend(wanted.keys().filter(|uid| placement.is_written(uid)).cloned());
            for uid in &written {
                prop_assert!(!cluster.places(uid).is_empty(), "{} is nowhere", uid);
            }
        }
        if let Some((number, contents)) = begun.take() {
            cluster.finish(&mut placement, number, contents);
        }
        cluster.flush(&mut placement, |_| true);
        let kept: BTreeMap<String, usize> =
            cluster.0.values().flatten().map(|(uid, file)| (uid.clone(), file.json.len())).collect();
        prop_assert_eq!(kept, wanted.clone());
        prop_assert_eq!(cluster.0.values().map(BTreeMap::len).sum::<usize>(), wanted.len());
        prop_assert!(cluster.0.values().all(|files| !files.is_empty()));
    }
}
