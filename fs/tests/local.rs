//! The local disk does what every file system must.

use std::{collections::BTreeMap, net::TcpListener, time::Duration};

use yarn_ml_fs::{ErrorKind, FileSystems, LocalDisk, Timeouts, conformance};

#[tokio::test]
async fn the_local_disk_conforms() {
    let dir = tempfile::tempdir().unwrap();
    conformance::run(&LocalDisk, &format!("{}/base", dir.path().display())).await;
}

fn systems(limit: Duration) -> FileSystems {
    let timeouts = Timeouts { metadata: limit, read: limit, write: limit };
    FileSystems::new(BTreeMap::new(), Some("alice".into()), timeouts)
}

#[tokio::test]
async fn a_namenode_that_refuses_is_unreachable_by_its_address() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (files, at) = systems(Duration::from_secs(20)).resolve(&format!("hdfs://{address}/a")).unwrap();
    let error = files.status(&at.path).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreachable, "{error}");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[tokio::test]
async fn a_namenode_that_says_nothing_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("hdfs://{}/a", silent.local_addr().unwrap());
    let (files, at) = systems(Duration::from_millis(300)).resolve(&uri).unwrap();
    assert_eq!(files.status(&at.path).await.unwrap_err().kind, ErrorKind::Timeout);
}
