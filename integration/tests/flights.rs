//! The main job: TensorFlow under ParameterServerStrategy on the flights of 2013, here and on the cluster.

use std::{
    collections::BTreeMap,
    path::Path,
    process::Command,
    sync::{Mutex, PoisonError},
};

use serde_json::Value;
use yarn_ml_integration::{backend, root};

/// Each demo takes the whole machine, and both prepare the same data.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn demo(master: &str, out: &str) -> Value {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let binaries = backend::binary("yarn-ml");
    let done = Command::new(root().join("examples/flights/demo"))
        .arg(master)
        .arg(binaries.parent().unwrap())
        .arg(backend::python())
        .output()
        .unwrap();
    let text = format!("{}\n{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{text}");
    let report = std::fs::read_to_string(root().join(out).join("report.json")).unwrap();
    serde_json::from_str(&report).unwrap()
}

/// Rows of the file and the sum of where they begin.
fn records(path: &Path) -> (u64, u64) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut offset = 0;
    let mut sum = 0;
    let mut count = 0;
    for (n, line) in text.split_inclusive('\n').enumerate() {
        if n > 0 {
            count += 1;
            sum += offset;
        }
        offset += line.len() as u64;
    }
    (count, sum)
}

fn check(report: &Value) {
    let (count, _) = records(&root().join("target/flights/train.csv"));
    let rows = &report["rows"];
    assert_eq!((report["state"].as_str(), rows["source"].as_u64()), (Some("FINISHED"), Some(count)));
    let all = count * report["epochs"].as_u64().unwrap();
    for counter in ["read", "produced", "fed", "acknowledged", "committed"] {
        assert_eq!(rows[counter].as_u64(), Some(all), "{counter}");
    }
    assert_eq!((rows["skipped"].as_u64(), rows["replayed"].as_u64()), (Some(0), Some(0)));
    for role in report["roles"].as_array().unwrap().iter().filter(|r| r["role"] == "worker") {
        let fed = role["rows"]["fed"].as_u64().unwrap();
        assert!(fed * 5 >= all, "worker {} was fed {fed} of {all} rows", role["index"]);
    }
    // `evaluate.py` exits with 1 unless the model beats both; here it must have said by how much.
    let quality = &report["quality"];
    let of = |name: &str, what: &str| quality["baselines"][name][what].as_f64().unwrap();
    let (auc, loss) = (quality["model"]["auc"].as_f64().unwrap(), quality["model"]["log_loss"].as_f64().unwrap());
    assert!(auc > of("dep_delay", "auc") && loss < of("dep_delay", "log_loss") && loss < of("constant", "log_loss"));
}

/// What the model's own variables say of the rows it was trained on.
fn check_variables(checkpoint: &Path, report: &Value) {
    let program = "
import json, sys, tensorflow as tf
reader = tf.train.load_checkpoint(sys.argv[1])
value = lambda name: reader.get_tensor(f'yarn_ml/{name}/.ATTRIBUTES/VARIABLE_VALUE').tolist()
print(json.dumps({name: value(name) for name in ('rows', 'row_id_sum')}))
";
    let read = Command::new(backend::python()).args(["-c", program]).arg(checkpoint).output().unwrap();
    let found: BTreeMap<String, Vec<u64>> =
        serde_json::from_slice(&read.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&read.stderr)));
    let (count, sum) = records(&root().join("target/flights/train.csv"));
    let epochs = report["epochs"].as_u64().unwrap();
    assert_eq!(found["rows"].iter().sum::<u64>(), count * epochs);
    assert_eq!(found["row_id_sum"].iter().sum::<u64>(), sum * epochs);
    let workers = report["roles"].as_array().unwrap().iter().filter(|r| r["role"] == "worker");
    let acknowledged: Vec<u64> = workers.map(|r| r["rows"]["acknowledged"].as_u64().unwrap()).collect();
    assert_eq!(found["rows"], acknowledged, "each rank's own count");
}

#[test]
fn the_main_job_runs_on_this_machine() {
    let report = demo("local", "target/demo");
    check(&report);
    let checkpoint = report["checkpoint"].as_str().unwrap().strip_prefix("file://").unwrap();
    check_variables(Path::new(checkpoint), &report);
}

#[test]
fn the_main_job_runs_on_the_cluster() {
    let report = demo("yarn", "target/demo-yarn");
    check(&report);
    assert!(report["application_id"].as_str().unwrap().starts_with("application_"));
    let cluster = yarn_ml_integration::Cluster::shared().unwrap();
    let uri = report["checkpoint"].as_str().unwrap();
    let path = uri.strip_prefix(&cluster.default_fs()).unwrap();
    assert_eq!(cluster.stat(path).unwrap()["owner"], "alice");
    let local = tempfile::TempDir::new().unwrap();
    cluster.get_tree("alice", path, &local.path().join("checkpoint")).unwrap();
    check_variables(&local.path().join("checkpoint"), &report);
}

#[test]
fn an_untrained_model_fails_the_check_of_quality() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::TempDir::new().unwrap();
    let data = root().join("target/flights");
    let prepared =
        Command::new(backend::python()).arg(root().join("examples/flights/prepare.py")).arg(&data).status().unwrap();
    assert!(prepared.success());
    let program = "
import sys, tensorflow as tf
sys.path[:0] = sys.argv[2:4]
import features
module = tf.Module()
spec = {name: tf.TensorSpec([None], tf.float32, name) for name in features.NUMBERS}
spec.update({name: tf.TensorSpec([None], tf.string, name) for name in features.TABLES})
spec['dep_delay_valid'] = tf.TensorSpec([None], tf.bool, 'dep_delay_valid')
weights = tf.Variable(tf.random.stateless_normal([7, 1], [1, 2]))
module.weights = weights
@tf.function(input_signature=[spec])
def serving(batch):
    return {'late': tf.sigmoid(tf.squeeze(tf.matmul(features.numbers(batch), weights), 1))}
module.serving = serving
tf.saved_model.save(module, sys.argv[1], signatures={'serving_default': serving})
";
    let model = folder.path().join("model");
    let made = Command::new(backend::python())
        .args(["-c", program])
        .args([&model, &root().join("examples/flights"), &root().join("python")])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let scored = Command::new(backend::python())
        .arg(root().join("examples/flights/evaluate.py"))
        .args([&model, &data.join("train.csv"), &data.join("test.csv")])
        .output()
        .unwrap();
    assert_eq!(scored.status.code(), Some(1), "{}", String::from_utf8_lossy(&scored.stderr));
    assert!(String::from_utf8_lossy(&scored.stderr).contains("does not beat its baselines"));
}
