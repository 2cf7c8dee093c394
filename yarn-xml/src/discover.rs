//! Finding Hadoop's configuration as Hadoop's own commands do.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::configuration::{Configuration, ConfigurationError};

const FILES: [&str; 4] = ["core-site.xml", "hdfs-site.xml", "yarn-site.xml", "resource-types.xml"];

#[derive(Debug, Error)]
pub enum DiscoverError {
    #[error("no Hadoop configuration was found; looked in:{}\n\nhint: set HADOOP_CONF_DIR to the folder with core-site.xml and yarn-site.xml, or give --conf", list(.looked))]
    NotFound { looked: Vec<(String, String)> },
    #[error("failed to read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
}

fn list(looked: &[(String, String)]) -> String {
    looked.iter().map(|(place, why)| format!("\n  {place}: {why}")).collect()
}

/// Reads the first folder that has a core-site.xml or a yarn-site.xml: the one given, then HADOOP_CONF_DIR, YARN_CONF_DIR,
/// HADOOP_HOME/etc/hadoop, /etc/hadoop/conf. Returns the folder as well.
pub fn discover(
    given: Option<&Path>,
    environment: &BTreeMap<String, String>,
    user: &str,
) -> Result<(Configuration, PathBuf), DiscoverError> {
    let variable = |name: &str| environment.get(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let places: Vec<(&str, Option<PathBuf>)> = match given {
        Some(folder) => vec![("--conf", Some(folder.to_owned()))],
        None => vec![
            ("HADOOP_CONF_DIR", variable("HADOOP_CONF_DIR")),
            ("YARN_CONF_DIR", variable("YARN_CONF_DIR")),
            ("HADOOP_HOME/etc/hadoop", variable("HADOOP_HOME").map(|home| home.join("etc/hadoop"))),
            ("the usual place", Some(PathBuf::from("/etc/hadoop/conf"))),
        ],
    };
    let mut looked = Vec::new();
    for (name, folder) in places {
        let Some(folder) = folder else {
            looked.push((name.to_owned(), "not set".to_owned()));
            continue;
        };
        let place = format!("{name} ({})", folder.display());
        if !folder.is_dir() {
            looked.push((place, "there is no such folder".to_owned()));
            continue;
        }
        if !["core-site.xml", "yarn-site.xml"].iter().any(|file| folder.join(file).is_file()) {
            looked.push((place, "it has neither core-site.xml nor yarn-site.xml".to_owned()));
            continue;
        }
        return Ok((load(&folder, environment, user)?, folder));
    }
    Err(DiscoverError::NotFound { looked })
}

/// The one file that AM and agents are given.
pub fn load_file(path: &Path, user: &str) -> Result<Configuration, DiscoverError> {
    let text = fs::read_to_string(path).map_err(|source| DiscoverError::Read { path: path.to_owned(), source })?;
    let mut configuration = Configuration::new(surroundings(&BTreeMap::new(), user));
    configuration.add(&text, &path.display().to_string(), &|_| Ok(None))?;
    Ok(configuration)
}

fn load(folder: &Path, environment: &BTreeMap<String, String>, user: &str) -> Result<Configuration, DiscoverError> {
    let mut configuration = Configuration::new(surroundings(environment, user));
    let include = |href: &str| match fs::read_to_string(folder.join(href)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    };
    for file in FILES {
        let path = folder.join(file);
        match fs::read_to_string(&path) {
            Ok(text) => configuration.add(&text, &path.display().to_string(), &include)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(DiscoverError::Read { path, source }),
        }
    }
    Ok(configuration)
}

fn surroundings(environment: &BTreeMap<String, String>, user: &str) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> =
        environment.iter().map(|(key, value)| (format!("env.{key}"), value.clone())).collect();
    all.insert("user.name".to_owned(), user.to_owned());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_folder_with_a_site_file_is_taken_and_all_places_are_told_when_there_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let empty = dir.path().join("empty");
        fs::create_dir(&empty).unwrap();
        let environment = BTreeMap::from([
            ("HADOOP_CONF_DIR".to_owned(), empty.display().to_string()),
            ("YARN_CONF_DIR".to_owned(), dir.path().display().to_string()),
        ]);
        let error = discover(Some(&empty), &environment, "alice").unwrap_err().to_string();
        assert!(error.contains("neither core-site.xml") && error.contains("hint:"), "{error}");
        fs::write(
            dir.path().join("core-site.xml"),
            "<configuration><property><name>fs.defaultFS</name><value>hdfs://n:1</value></property></configuration>",
        )
        .unwrap();
        let (conf, folder) = discover(None, &environment, "alice").unwrap();
        assert_eq!(folder, dir.path());
        assert_eq!(conf.get("fs.defaultFS").unwrap().unwrap(), "hdfs://n:1");
        assert_eq!(conf.get("hadoop.tmp.dir").unwrap().unwrap(), "/tmp/hadoop-alice");
    }
}
