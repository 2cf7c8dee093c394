//! The body of `POST /ws/v1/cluster/apps`, as XML: its shape is fixed by annotations and the same in every version, while JSON
//! maps changed between them.

use quick_xml::escape::escape;

/// `ApplicationSubmissionContextInfo`, as far as REST expresses it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Submission {
    pub application_id: String,
    pub name: String,
    pub queue: Option<String>,
    pub application_type: String,
    pub max_app_attempts: u32,
    pub memory_mb: u64,
    pub vcores: u32,
    pub tags: Vec<String>,
    pub command: String,
    pub environment: Vec<(String, String)>,
    pub local_resources: Vec<(String, LocalResource)>,
    /// Alias and `Token.encodeToUrlString`.
    pub tokens: Vec<(String, String)>,
    /// Alias and standard base64.
    pub secrets: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalResource {
    pub uri: String,
    /// `FILE` or `ARCHIVE`
    pub kind: &'static str,
    /// `PUBLIC`, `PRIVATE` or `APPLICATION`
    pub visibility: &'static str,
    pub size: u64,
    /// Milliseconds since the epoch.
    pub timestamp: i64,
}

impl Submission {
    pub fn to_xml(&self) -> String {
        let mut xml = Xml::default();
        xml.open("application-submission-context");
        xml.text("application-id", &self.application_id);
        xml.text("application-name", &self.name);
        if let Some(queue) = &self.queue {
            xml.text("queue", queue);
        }
        xml.text("application-type", &self.application_type);
        xml.text("max-app-attempts", &self.max_app_attempts.to_string());
        xml.text("keep-containers-across-application-attempts", "false");
        xml.open("resource");
        xml.text("memory", &self.memory_mb.to_string());
        xml.text("vCores", &self.vcores.to_string());
        xml.close("resource");
        if !self.tags.is_empty() {
            xml.open("application-tags");
            self.tags.iter().for_each(|tag| xml.text("tag", tag));
            xml.close("application-tags");
        }
        xml.open("am-container-spec");
        xml.open("local-resources");
        for (name, resource) in &self.local_resources {
            xml.open("entry");
            xml.text("key", name);
            xml.open("value");
            xml.text("resource", &resource.uri);
            xml.text("type", resource.kind);
            xml.text("visibility", resource.visibility);
            xml.text("size", &resource.size.to_string());
            xml.text("timestamp", &resource.timestamp.to_string());
            xml.close("value");
            xml.close("entry");
        }
        xml.close("local-resources");
        xml.map("environment", &self.environment);
        xml.open("commands");
        xml.text("command", &self.command);
        xml.close("commands");
        xml.open("credentials");
        xml.map("tokens", &self.tokens);
        xml.map("secrets", &self.secrets);
        xml.close("credentials");
        xml.close("am-container-spec");
        xml.close("application-submission-context");
        xml.0
    }
}

#[derive(Default)]
struct Xml(String);

impl Xml {
    fn open(&mut self, name: &str) {
        self.0.push_str(&format!("<{name}>"));
    }

    fn close(&mut self, name: &str) {
        self.0.push_str(&format!("</{name}>"));
    }

    fn text(&mut self, name: &str, text: &str) {
        self.0.push_str(&format!("<{name}>{}</{name}>", escape(text)));
    }

    fn map(&mut self, name: &str, entries: &[(String, String)]) {
        self.open(name);
        for (key, value) in entries {
            self.open("entry");
            self.text("key", key);
            self.text("value", value);
            self.close("entry");
        }
        self.close(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_what_the_resource_manager_expects() {
        let submission = Submission {
            application_id: "application_1_0001".into(),
            name: "a<b".into(),
            application_type: "yarn-ml".into(),
            max_app_attempts: 2,
            memory_mb: 256,
            vcores: 1,
            command: "./am 1><LOG_DIR>/out".into(),
            environment: vec![("K".into(), "v".into())],
            local_resources: vec![(
                "am".into(),
                LocalResource {
                    uri: "hdfs://n:1/am".into(),
                    kind: "FILE",
                    visibility: "PRIVATE",
                    size: 3,
                    timestamp: 4,
                },
            )],
            secrets: vec![("s".into(), "eA==".into())],
            ..Submission::default()
        };
        assert_eq!(
            submission.to_xml(),
            "<application-submission-context><application-id>application_1_0001</application-id>\
             <application-name>a&lt;b</application-name><application-type>yarn-ml</application-type>\
             <max-app-attempts>2</max-app-attempts>\
             <keep-containers-across-application-attempts>false</keep-containers-across-application-attempts>\
             <resource><memory>256</memory><vCores>1</vCores></resource>\
             <am-container-spec><local-resources><entry><key>am</key><value><resource>hdfs://n:1/am</resource>\
             <type>FILE</type><visibility>PRIVATE</visibility><size>3</size><timestamp>4</timestamp></value></entry></local-resources>\
             <environment><entry><key>K</key><value>v</value></entry></environment>\
             <commands><command>./am 1&gt;&lt;LOG_DIR&gt;/out</command></commands>\
             <credentials><tokens></tokens><secrets><entry><key>s</key><value>eA==</value></entry></secrets></credentials>\
             </am-container-spec></application-submission-context>"
        );
    }
}
