//! Jobs from submission to end, on this machine and on the cluster: the same binaries, the same outcome.

use std::time::{Duration, Instant};

use yarn_ml_integration::{
    Cluster,
    backend::{Place, on_both, python},
};

fn python_set() -> String {
    format!("program.python={}", python())
}

#[test]
fn two_groups_say_hello() {
    let job = std::fs::read_to_string(yarn_ml_integration::root().join("examples/hello/job.yaml")).unwrap();
    on_both("hello", |place| {
        let ended = place.submit(&job, &[]);
        assert_eq!(ended.code, 0, "{ended:?}");
        assert_eq!(ended.report["state"], "FINISHED");
        let roles = ended.report["roles"].as_array().unwrap();
        let exits: Vec<(&str, i64)> =
            roles.iter().map(|r| (r["role"].as_str().unwrap(), r["exit_code"].as_i64().unwrap())).collect();
        assert_eq!(exits, [("greeter", 0), ("greeter", 0), ("listener", 0)]);
        if let Some(cluster) = place.cluster() {
            let app = cluster.app(ended.id()).unwrap();
            assert_eq!((app["state"].as_str(), app["finalStatus"].as_str()), (Some("FINISHED"), Some("SUCCEEDED")));
            assert_eq!(app["user"], "alice");
            let gone = |c: &Cluster| Ok(!c.list("/user/alice/.yarn-ml/staging").iter().any(|name| name == ended.id()));
            cluster.wait_until("the staging folder is removed", Duration::from_secs(30), gone).unwrap();
            let cache = cluster.stat("/user/alice/.yarn-ml/cache").unwrap();
            assert_eq!((cache["owner"].as_str(), cache["permission"].as_str()), (Some("alice"), Some("700")));
        }
        let status = place.run(&["status", ended.id(), "--format", "json"]);
        assert!(status.stdout.contains("\"FINISHED\""), "{status:?}");
    });
}

/// `x,y` with some nulls, some quotes, some line breaks inside of quotes.
fn points(rows: usize) -> String {
    let mut out = String::from("x,y,note\n");
    for n in 0..rows {
        let x = if n % 97 == 0 { "NA".to_owned() } else { format!("{}.5", n % 10) };
        let note = if n % 50 == 0 { "\"two\nlines, \"\"quoted\"\"\"" } else { "plain" };
        out.push_str(&format!("{x},{n},{note}\n"));
    }
    out
}

/// Where each record begins, by the simplest reading there is.
fn sum_of_offsets(text: &str) -> (u64, u64) {
    let (mut count, mut sum, mut quoted, mut begin, mut header) = (0, 0, false, 0, true);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b'\n' if !quoted => {
                if !header {
                    count += 1;
                    sum += begin;
                }
                header = false;
                begin = at as u64 + 1;
            }
            _ => {}
        }
    }
    (count, sum)
}

const NUMPY: &str = "
name: numpy
type: generic
program: {entry: train.py}
streams:
  points:
    source: {path: POINTS, format: csv, nulls: [NA], split_size: 8KiB}
    columns: {x: float32, y: int64, note: string, row_id: {metadata: offset}}
roles:
  worker: {instances: 2, memory: 256MiB, input: {stream: points, epochs: 3, shuffle: 500, batch: 100, ring: 64KiB}}
";

const NUMPY_TRAINER: &str = "
import yarn_ml
rows = offsets = nulls = notes = 0
for batch in yarn_ml.input():
    rows += batch.rows
    offsets += int(batch['row_id'].sum())
    nulls += int((~batch['x_valid']).sum())
    notes += sum(1 for text in batch['note'].to_numpy() if text == 'two\\nlines, \"quoted\"')
yarn_ml.report(rows=rows, offsets=offsets, nulls=nulls, notes=notes)
";

#[test]
fn every_row_of_a_csv_file_is_counted_exactly() {
    let text = points(6000);
    let (count, sum) = sum_of_offsets(&text);
    assert_eq!(count, 6000);
    on_both("numpy", |place| {
        place.put("points.csv", text.as_bytes());
        place.write("train.py", NUMPY_TRAINER);
        let ended = place.submit(&NUMPY.replace("POINTS", &place.path("points.csv")), &[&python_set()]);
        assert_eq!(ended.code, 0, "{ended:?}");
        let rows = &ended.report["rows"];
        assert_eq!(rows["source"], count);
        for counter in ["read", "produced", "fed", "acknowledged"] {
            assert_eq!(rows[counter], 3 * count, "{counter}");
        }
        assert_eq!(rows["skipped"], 0);
        let roles = ended.report["roles"].as_array().unwrap();
        let total = |key: &str| roles.iter().map(|r| r["report"][key].as_u64().unwrap()).sum::<u64>();
        assert_eq!(total("rows"), 3 * count);
        assert_eq!(total("offsets"), 3 * sum);
        assert_eq!(total("nulls"), 3 * 6000_u64.div_ceil(97));
        assert_eq!(total("notes"), 3 * 120);
    });
}

#[test]
fn a_program_that_leaves_one_batch_early_fails_unless_it_says_so() {
    let early = "
import itertools, yarn_ml
batches = yarn_ml.input()
for batch in itertools.islice(batches, 5):
    pass
";
    on_both("early", |place| {
        place.put("points.csv", points(600).as_bytes());
        place.write("train.py", early);
        let job = NUMPY
            .replace("POINTS", &place.path("points.csv"))
            .replace("instances: 2", "instances: 1")
            .replace("epochs: 3", "epochs: 1");
        let ended = place.submit(&job, &[&python_set()]);
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(ended.diagnostics().contains("worker:0 acknowledged 400 of"), "{}", ended.diagnostics());
        place.write("train.py", &format!("{early}\nyarn_ml.stop('seen enough')\n"));
        let ended = place.submit(&job, &[&python_set()]);
        assert_eq!((ended.code, ended.report["stop_reason"].as_str()), (0, Some("seen enough")), "{ended:?}");
    });
}

#[test]
fn a_malformed_row_fails_the_job_with_its_place() {
    on_both("malformed", |place| {
        // Beyond what the client looks at before it submits.
        let mut text = points(120_000);
        let at = text.len();
        text.push_str("1,2\n");
        text.push_str(points(100).split_once('\n').unwrap().1);
        place.put("points.csv", text.as_bytes());
        place.write("train.py", NUMPY_TRAINER);
        let ended = place.submit(&NUMPY.replace("POINTS", &place.path("points.csv")), &[&python_set()]);
        assert_eq!(ended.code, 1, "{ended:?}");
        let expected = format!("points.csv, byte {at}: the record has 2 fields; expected 3");
        assert!(ended.diagnostics().contains(&expected), "{}", ended.diagnostics());
    });
}

#[test]
fn a_trainer_that_fails_is_named_with_its_traceback() {
    let job = "
name: failing
type: generic
program: {entry: fail.py}
roles:
  steady: {instances: 1, memory: 64MiB, program: {command: sleep 600}}
  failing: {instances: 2, memory: 128MiB}
";
    on_both("failing", |place| {
        place.write("fail.py", "import os\nif os.environ['YARN_ML_INDEX'] == '1':\n    raise ValueError('no such luck')\nimport time\ntime.sleep(600)\n");
        let ended = place.submit(job, &[]);
        assert_eq!(ended.code, 1, "{ended:?}");
        let told = ended.diagnostics();
        assert!(told.starts_with("failing:1: the trainer exited with 1"), "{told}");
        assert!(told.contains("container: container_") && told.contains("log: "), "{told}");
        assert!(told.ends_with("ValueError: no such luck"), "{told}");
        if let Some(cluster) = place.cluster() {
            let app = cluster.app(ended.id()).unwrap();
            assert_eq!(app["finalStatus"], "FAILED");
            assert!(app["diagnostics"].as_str().unwrap().contains("no such luck"));
        }
    });
}

#[test]
fn a_signal_is_told_by_its_name() {
    let job = "{name: signal, type: generic, program: {command: 'kill -SEGV $$'}, roles: {only: {memory: 64MiB}}}";
    let ended = Place::local("signal").submit(job, &[]);
    assert_eq!(ended.code, 1);
    assert!(ended.diagnostics().contains("SIGSEGV"), "{}", ended.diagnostics());
}

#[test]
fn a_trainer_that_takes_too_much_memory_is_killed_and_told_which_key_to_raise() {
    let job = "
name: greedy
type: generic
program: {entry: greedy.py}
roles: {greedy: {memory: 64MiB}}
";
    on_both("greedy", |place| {
        place.write(
            "greedy.py",
            "import time\nheld = bytearray(600 << 20)\nfor n in range(0, len(held), 4096):\n    held[n] = 1\ntime.sleep(600)\n",
        );
        let ended = place.submit(job, &[]);
        assert_eq!(ended.code, 1, "{ended:?}");
        let told = ended.diagnostics();
        assert!(told.starts_with("greedy:0: the container exceeded its memory"), "{told}");
        assert!(told.contains("raise roles.greedy.memory"), "{told}");
    });
}

#[test]
fn a_killed_job_is_dead_and_leaves_nothing() {
    let job = "{name: endless, type: generic, program: {command: 'sleep 600'}, roles: {sleeper: {instances: 2, memory: 64MiB}}}";
    on_both("endless", |place| {
        place.write("job.yaml", job);
        let submitted = place.run(&["submit", "--master", place.master(), "--detach", "job.yaml"]);
        assert_eq!(submitted.code, 0, "{submitted:?}");
        let id = submitted.id().to_owned();
        let deadline = Instant::now() + Duration::from_secs(60);
        while !place.run(&["status", &id]).stdout.contains("RUNNING") {
            assert!(Instant::now() < deadline, "the job did not start: {:?}", place.run(&["status", &id]));
        }
        let killed = place.run(&["kill", &id]);
        assert_eq!(killed.code, 0, "{killed:?}");
        let status = place.run(&["status", &id, "--format", "json"]);
        assert!(status.stdout.contains("\"KILLED\""), "{status:?}");
        match place.cluster() {
            Some(cluster) => {
                assert_eq!(cluster.app(&id).unwrap()["state"], "KILLED");
                assert!(!cluster.list("/user/alice/.yarn-ml/staging").contains(&id));
            }
            None => assert_eq!(processes_in(&place.state()), [] as [String; 0]),
        }
    });
}

/// Command lines of processes that work below a folder.
fn processes_in(folder: &std::path::Path) -> Vec<String> {
    let within = |pid: &str| std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.chars().all(|c| c.is_ascii_digit()) && within(name))
        .map(|pid| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default())
        .filter(|line| !line.is_empty())
        .collect()
}
