//! What a trainer left on the local disk, to where the job wants it.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result, ensure};
use yarn_ml_agent_core::Upload;
use yarn_ml_fs::{Attempt, FileSystems, Location, PublishedTree, publish_tree};
use yarn_ml_protocol::messages::Artifact;

/// Where things lie locally, and where they go.
pub struct Uploads {
    pub files: Arc<FileSystems>,
    pub checkpoint_dir: std::path::PathBuf,
    pub model_dir: std::path::PathBuf,
    /// Folder of checkpoints, a URI.
    pub checkpoints: Option<String>,
    pub keep: usize,
}

impl Uploads {
    /// Returns the final place.
    pub async fn carry_out(&self, upload: &Upload) -> Result<(String, PublishedTree)> {
        let attempt = Attempt(format!("attempt{}", upload.application_attempt));
        if upload.artifact == Artifact::Model {
            let location = Location::parse(&upload.uri)?;
            ensure!(
                is_filled(&self.model_dir),
                "the program ended without leaving a model in {} (yarn_ml.context().model_dir)",
                self.model_dir.display()
            );
            let files = self.files.at(&location)?;
            let done = publish_tree(&self.model_dir, &*files, &location.path, upload.overwrite, &attempt).await?;
            return Ok((location.to_string(), done));
        }
        let local = self.checkpoint_dir.join(&upload.local);
        ensure!(
            local.starts_with(&self.checkpoint_dir) && !upload.local.split('/').any(|part| part == ".."),
            "a checkpoint must lie in {}, and `{}` does not",
            self.checkpoint_dir.display(),
            upload.local
        );
        let folder = self.checkpoints.as_deref().context("the job file has no `checkpoints:`")?;
        let location = Location::parse(folder)?.join(&format!("ck-{}", upload.step));
        let files = self.files.at(&location)?;
        let done = publish_tree(&local, &*files, &location.path, upload.overwrite, &attempt).await?;
        self.prune(folder).await;
        Ok((location.to_string(), done))
    }

    /// The oldest ones beyond `keep` go. That they could not does not fail a job.
    async fn prune(&self, folder: &str) {
        let pruned = async {
            use futures::TryStreamExt;
            let location = Location::parse(folder)?;
            let files = self.files.at(&location)?;
            let mut found: Vec<(u64, String)> = files
                .list(&location.path)
                .try_filter_map(|found| async move {
                    let step = found.path.rsplit_once("/ck-").and_then(|(_, step)| step.parse().ok());
                    Ok(step.map(|step| (step, found.path)))
                })
                .try_collect()
                .await?;
            found.sort_unstable();
            let excess = found.len().saturating_sub(self.keep);
            for (_, path) in &found[..excess] {
                files.delete(path, true).await?;
            }
            yarn_ml_fs::Result::<()>::Ok(())
        };
        if let Err(error) = pruned.await {
            tracing::warn!(%error, "old checkpoints could not be removed");
        }
    }
}

fn is_filled(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}
