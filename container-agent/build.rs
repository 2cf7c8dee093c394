//! Builds the shared libraries for trainers and packs them with the `yarn_ml` package: the agent carries them, so that users
//! install nothing.
//!
//! Cargo cannot depend on a cdylib of another package yet, so it is asked once more, in a target folder of its own.

use std::{env, error::Error, fs, path::Path, process::Command};

const LIBRARIES: [(&str, &str); 2] =
    [("yarn-ml-native", "libyarn_ml_native.so"), ("yarn-ml-tf-op", "libyarn_ml_tf_op.so")];

fn main() -> Result<(), Box<dyn Error>> {
    let manifest = env::var("CARGO_MANIFEST_DIR")?;
    let root = Path::new(&manifest).parent().ok_or("the crate has no parent folder")?;
    let out = env::var("OUT_DIR")?;
    let target = env::var("TARGET")?;
    for watched in ["python/yarn_ml", "python/native", "python/tf-op", "container-agent/shm/src", "Cargo.lock"] {
        println!("cargo:rerun-if-changed={}", root.join(watched).display());
    }

    let libraries = Path::new(&out).join("libraries");
    let mut cargo = Command::new(env::var("CARGO")?);
    cargo.current_dir(root).args(["build", "--locked", "--target", &target, "--target-dir"]).arg(&libraries);
    for (package, _) in LIBRARIES {
        cargo.args(["-p", package]);
    }
    // The ring is what makes trainers fast: it is never left unoptimised.
    cargo.arg("--release");
    for (name, _) in
        env::vars().filter(|(name, _)| name.starts_with("CARGO_CFG_") || name.starts_with("CARGO_FEATURE_"))
    {
        cargo.env_remove(name);
    }
    let status = cargo.status()?;
    if !status.success() {
        return Err(format!("cargo could not build the trainers' libraries: {status}").into());
    }
    let package = fs::File::create(Path::new(&out).join("yarn_ml.tar.gz"))?;
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(package, flate2::Compression::default()));
    tar.mode(tar::HeaderMode::Deterministic);
    add_python(&mut tar, &root.join("python/yarn_ml"), Path::new("yarn_ml"))?;
    for (_, file) in LIBRARIES {
        let built = libraries.join(&target).join("release").join(file);
        tar.append_path_with_name(&built, Path::new("yarn_ml/lib").join(file))?;
    }
    tar.into_inner()?.finish()?;
    Ok(())
}

/// Sources only, in a fixed order.
fn add_python<W: std::io::Write>(tar: &mut tar::Builder<W>, folder: &Path, name: &Path) -> Result<(), Box<dyn Error>> {
    let mut entries: Vec<_> = fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = name.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            add_python(tar, &entry.path(), &name)?;
        } else if entry.path().extension().is_some_and(|e| e == "py" || e == "pyi") {
            tar.append_path_with_name(entry.path(), name)?;
        }
    }
    Ok(())
}
