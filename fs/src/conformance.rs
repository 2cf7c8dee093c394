//! What every file system here must do. Panics name what it did instead.

use bytes::Bytes;
use futures::TryStreamExt;

use crate::{Attempt, CreateOptions, ErrorKind, FileSystem, expand, publish_file, publish_tree, read_small};

/// Runs everything in `base`, an absolute folder that does not exist yet.
pub async fn run(files: &dyn FileSystem, base: &str) {
    let at = |name: &str| format!("{base}/{name}");
    files.mkdirs(base, 0o700).await.unwrap();
    assert_eq!(files.status(base).await.unwrap().permission, 0o700);

    let content = Bytes::from((0..200_000u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>());
    let mut file = files.create(&at("d/a"), CreateOptions { permission: 0o600, ..Default::default() }).await.unwrap();
    file.write(content.slice(..1000)).await.unwrap();
    file.write(content.slice(1000..)).await.unwrap();
    file.close().await.unwrap();
    let status = files.status(&at("d/a")).await.unwrap();
    assert_eq!((status.length, status.is_dir, status.permission), (800_000, false, 0o600));
    files.set_permission(&at("d/a"), 0o777).await.unwrap();
    assert_eq!(files.status(&at("d/a")).await.unwrap().permission, 0o777);

    let read = files.open(&at("d/a")).await.unwrap();
    assert_eq!(read.read_range(399_990, 20).await.unwrap(), content.slice(399_990..400_010));
    assert_eq!(read.read_range(799_999, 2).await.unwrap_err().kind, ErrorKind::Changed);
    let pieces: Vec<Bytes> = read.stream(10, 700_000).try_collect().await.unwrap();
    assert_eq!(pieces.concat(), content.slice(10..700_010));
    assert_eq!(read_small(files, &at("d/a"), 10).await.unwrap_err().kind, ErrorKind::Other);

    let again = files.create(&at("d/a"), CreateOptions::default()).await.err().unwrap();
    assert_eq!(again.kind, ErrorKind::AlreadyExists, "{again}");
    for missing in [
        files.status(&at("no")).await.err(),
        files.open(&at("no")).await.err(),
        files.rename(&at("no"), &at("other"), false).await.err(),
    ] {
        assert_eq!(missing.as_ref().unwrap().kind, ErrorKind::NotFound, "{missing:?}");
    }
    assert!(!files.delete(&at("no"), true).await.unwrap());

    let attempt = Attempt("1".into());
    publish_file(files, &at("d/b"), Bytes::from_static(b"1"), 0o640, false, &attempt).await.unwrap();
    let refused = publish_file(files, &at("d/b"), Bytes::from_static(b"2"), 0o640, false, &attempt).await;
    assert_eq!(refused.unwrap_err().kind, ErrorKind::AlreadyExists);
    assert_eq!(read_small(files, &at("d/b"), 10).await.unwrap().as_ref(), b"1");
    publish_file(files, &at("d/b"), Bytes::from_static(b"22"), 0o640, true, &attempt).await.unwrap();
    assert_eq!(files.status(&at("d/b")).await.unwrap().length, 2);

    let mut names: Vec<String> = files.list(&at("d")).map_ok(|s| s.path).try_collect().await.unwrap();
    names.sort();
    assert_eq!(names, [at("d/a"), at("d/b")], "no temporary name is left");
    let found = expand(files, &at("{d,e}/[ab]")).await;
    assert!(found.is_err(), "a folder that is missing is no empty answer");
    let found = expand(files, &at("*/[ab]")).await.unwrap();
    assert_eq!(found.iter().map(|s| s.path.as_str()).collect::<Vec<_>>(), [at("d/a"), at("d/b")]);

    let local = std::env::temp_dir().join(format!("yarn-ml-conformance-{}", std::process::id()));
    std::fs::create_dir_all(local.join("x/y")).unwrap();
    std::fs::write(local.join("x/y/f"), "abc").unwrap();
    std::fs::write(local.join("x/g"), "").unwrap();
    let tree = publish_tree(&local.join("x"), files, &at("tree"), false, &attempt).await.unwrap();
    assert_eq!((tree.files, tree.bytes), (2, 3));
    let refused = publish_tree(&local.join("x"), files, &at("tree"), false, &attempt).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::AlreadyExists, "{refused}");
    publish_tree(&local.join("x"), files, &at("tree"), true, &attempt).await.unwrap();
    crate::download_tree(files, &at("tree"), &local.join("z")).await.unwrap();
    assert_eq!(std::fs::read_to_string(local.join("z/y/f")).unwrap(), "abc");
    std::fs::remove_dir_all(&local).unwrap();

    assert!(files.delete(base, true).await.unwrap());
    assert!(files.status(base).await.unwrap_err().is_not_found());
}
