//! The cluster itself: it comes up, files belong to those who wrote them, and our file system works on it.

use std::collections::BTreeMap;

use yarn_ml_fs::{FileSystems, Location, Timeouts, conformance};
use yarn_ml_integration::{Cluster, http};

#[test]
fn a_file_belongs_to_whoever_wrote_it() {
    let cluster = Cluster::shared().unwrap();
    cluster.put("alice", "/user/alice/fixture.txt", b"hello".to_vec()).unwrap();
    assert_eq!(cluster.stat("/user/alice/fixture.txt").unwrap()["owner"], "alice");
    assert_eq!(cluster.get("alice", "/user/alice/fixture.txt").unwrap(), b"hello");
    assert!(cluster.put("bob", "/user/alice/other.txt", vec![]).is_err());
}

#[test]
fn hdfs_conforms() {
    let cluster = Cluster::shared().unwrap();
    let systems = FileSystems::new(BTreeMap::new(), Some("alice".into()), Timeouts::default());
    let base = Location::parse(&format!("{}/user/alice/conformance", cluster.default_fs())).unwrap();
    let files = systems.at(&base).unwrap();
    http::block_on(conformance::run(&*files, &base.path));
}
