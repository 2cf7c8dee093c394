//! What is wrong is said before anything is submitted, by place, with what is allowed.

use std::net::TcpListener;

use yarn_ml_integration::backend::{Place, on_both};

const GOOD: &str = "
name: a
type: generic
program: {command: 'true'}
roles: {only: {memory: 64MiB}}
";

#[test]
fn an_unknown_key_and_a_wrong_unit_are_named_by_line_and_column() {
    let place = Place::local("refusals");
    let ended = place.submit(&GOOD.replace("memory", "memroy"), &[]);
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("job.yaml:5:16: unknown field `memroy`"), "{}", ended.stderr);
    assert!(ended.stderr.contains("did you mean `memory`?"), "{}", ended.stderr);
    let ended = place.submit(&GOOD.replace("64MiB", "64M"), &[]);
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("`64M` is not a memory size"), "{}", ended.stderr);
    assert_eq!(ended.stdout, "", "nothing was submitted");
}

#[test]
fn missing_files_are_named() {
    on_both("missing", |place| {
        let ended = place.submit(&GOOD.replace("command: 'true'", "entry: gone.py"), &[]);
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(ended.stderr.contains("`gone.py` is not beside the job file"), "{}", ended.stderr);
        let reading = "
name: a
type: generic
program: {command: 'true'}
streams: {s: {source: {path: missing/none.csv, format: csv}}}
roles: {only: {memory: 64MiB, input: {stream: s}}}
";
        let ended = place.submit(reading, &[]);
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(
            ended.stderr.contains("stream s cannot be read") && ended.stderr.contains("missing"),
            "{}",
            ended.stderr
        );
    });
}

#[test]
fn without_a_hadoop_configuration_every_place_is_told() {
    let place = Place::local("refusals");
    place.write("job.yaml", GOOD);
    let output = place
        .command(&["submit", "job.yaml"])
        .env_remove("HADOOP_CONF_DIR")
        .env_remove("YARN_CONF_DIR")
        .env_remove("HADOOP_HOME")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("HADOOP_CONF_DIR: not set") && text.contains("/etc/hadoop/conf"), "{text}");
}

#[test]
fn the_cluster_refuses_with_its_reason() {
    let place = Place::yarn("refusals");
    let ended = place.submit(GOOD, &["queue=stopped"]);
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(ended.stderr.contains("STOPPED"), "{}", ended.stderr);
    let ended = place.submit(GOOD, &["queue=nowhere"]);
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(ended.stderr.contains("there is no queue nowhere") && ended.stderr.contains("default"), "{}", ended.stderr);
    let ended = place.submit(GOOD, &["roles.only.memory=100GiB"]);
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(ended.stderr.contains("roles.only.memory") && ended.stderr.contains("4096 MiB"), "{}", ended.stderr);
    let ended = place.submit(GOOD, &["roles.only.resources={yarn.io/gpu: 1}"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.diagnostics().contains("yarn.io/gpu, which the cluster does not have"), "{}", ended.diagnostics());
}

#[test]
fn a_dead_resource_manager_is_told_by_its_address() {
    let place = Place::yarn("refusals");
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let conf = place.folder.path().join("conf");
    std::fs::create_dir(&conf).unwrap();
    let site = format!(
        "<configuration><property><name>fs.defaultFS</name><value>{}</value></property><property><name>yarn.resourcemanager.webapp.address</name><value>{dead}</value></property></configuration>",
        place.cluster().unwrap().default_fs()
    );
    std::fs::write(conf.join("core-site.xml"), site).unwrap();
    place.write("job.yaml", GOOD);
    let ended = place.run(&["--conf", conf.to_str().unwrap(), "submit", "job.yaml"]);
    assert_eq!(ended.code, 5, "{ended:?}");
    assert!(ended.stderr.contains(&dead), "{}", ended.stderr);
}

#[test]
fn a_model_that_is_there_is_not_overwritten() {
    let place = Place::local("refusals");
    std::fs::create_dir(place.folder.path().join("model")).unwrap();
    let ended = place.submit(&format!("{GOOD}model: model\n"), &[]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.contains("exists already") && ended.stderr.contains("{version}"), "{}", ended.stderr);
}
