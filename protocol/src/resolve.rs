//! From a checked job and what the client found out (schemas, qualified paths, uploaded files) to the [`Plan`].

use indexmap::IndexMap;

use crate::{
    check::{Problem, problems, program_of},
    job::{Input, Job, Stream},
    parse::did_you_mean,
    plan::{ColumnSource, Master, MemoryPlan, ModelPlan, OutputColumn, Plan, Resource, RolePlan, StreamPlan},
    schema::{Column, ColumnType, Metadata},
};

/// What only the outside world can tell.
#[derive(Clone, Debug)]
pub struct Surroundings {
    pub application_id: String,
    pub master: Master,
    pub user: String,
    pub default_fs: String,
    pub working_dir: String,
    pub staging: String,
    pub report: String,
    /// Qualified path and file schema of every stream that a role reads.
    pub streams: IndexMap<String, (String, Vec<Column>)>,
    pub checkpoints: Option<String>,
    /// Qualified, `{version}` replaced.
    pub model: Option<String>,
    pub resources: Vec<Resource>,
}

/// Memory of an agent beside rings and transforms: code, TLS, HDFS buffers, Arrow batches in flight.
const AGENT_MB: u64 = 64;
/// What a row of a window is taken to need until it is read; wide rows want a smaller `shuffle`.
const ROW_BYTES: u64 = 1024;

/// Resolves everything, or lists every mistake.
pub fn plan(job: &Job, around: Surroundings) -> Result<Plan, Vec<Problem>> {
    let mut found = problems(job);
    let mut streams = IndexMap::new();
    for (name, (path, file_schema)) in around.streams {
        match job.streams.get(&name).map(|stream| columns(&name, stream, &file_schema)) {
            Some(Ok(columns)) => {
                streams.insert(name, StreamPlan { path, file_schema, columns });
            }
            Some(Err(mut problems)) => found.append(&mut problems),
            None => {}
        }
    }
    if !found.is_empty() {
        return Err(found);
    }
    let roles = job
        .roles
        .iter()
        .map(|(name, role)| {
            let program = program_of(job, role);
            let mut env = program.env.clone();
            env.extend(role.env.clone());
            let plan = RolePlan {
                instances: role.instances,
                env,
                program,
                input: role.input.clone(),
                memory: memory(role.memory.as_mebibytes_up(), role.input.as_ref()),
                vcores: role.vcores,
                resources: role.resources.clone(),
            };
            (name.clone(), plan)
        })
        .collect();
    Ok(Plan {
        version: Plan::VERSION,
        application_id: around.application_id,
        master: around.master,
        user: around.user,
        name: job.name.clone(),
        job_type: job.job_type,
        job: job.clone(),
        streams,
        roles,
        resources: around.resources,
        staging: around.staging,
        report: around.report,
        checkpoints: around.checkpoints,
        model: around.model.map(|path| ModelPlan { path, overwrite: job.model.as_ref().is_some_and(|m| m.overwrite) }),
        default_fs: around.default_fs,
        working_dir: around.working_dir,
    })
}

/// Columns for the trainer: what `columns` says over what the file has.
pub fn columns(name: &str, stream: &Stream, file: &[Column]) -> Result<Vec<OutputColumn>, Vec<Problem>> {
    let Some(selected) = &stream.columns else {
        return Ok(file
            .iter()
            .map(|column| OutputColumn { column: column.clone(), from: ColumnSource::Field(column.name.clone()) })
            .collect());
    };
    let mut found = Vec::new();
    let mut out = Vec::new();
    for (column, spec) in selected {
        if let Some(metadata @ Metadata::Offset) = spec.metadata {
            out.push(OutputColumn {
                column: Column { name: column.clone(), column_type: ColumnType::Int64, nullable: false },
                from: ColumnSource::Metadata(metadata),
            });
            continue;
        }
        let from = spec.from.as_ref().unwrap_or(column);
        let Some(field) = file.iter().find(|c| c.name == *from) else {
            let hint = did_you_mean(from, file.iter().map(|c| c.name.as_str()))
                .map(|n| format!("; did you mean `{n}`?"))
                .unwrap_or_default();
            let names: Vec<&str> = file.iter().map(|c| c.name.as_str()).collect();
            found.push(Problem {
                key: format!("streams.{name}.columns.{column}"),
                message: format!("the files have no column `{from}`; they have {}{hint}", names.join(", ")),
            });
            continue;
        };
        out.push(OutputColumn {
            column: Column {
                name: column.clone(),
                column_type: spec.column_type.unwrap_or(field.column_type),
                nullable: field.nullable,
            },
            from: ColumnSource::Field(from.clone()),
        });
    }
    if found.is_empty() { Ok(out) } else { Err(found) }
}

fn memory(trainer_mb: u64, input: Option<&Input>) -> MemoryPlan {
    let mb = |bytes: u64| bytes.div_ceil(1 << 20);
    MemoryPlan {
        trainer_mb,
        agent_mb: AGENT_MB,
        rings_mb: input.map_or(0, |i| 2 * mb(i.ring.0)),
        // The window, its permuted copy, and the batch in the making.
        transforms_mb: input.map_or(0, |i| mb((2 * u64::from(i.shuffle) + 2 * u64::from(i.batch)) * ROW_BYTES)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = "
name: x
type: generic
program: {entry: train.py}
streams:
  s: {source: {path: a.csv, format: csv}, columns: {late: {from: arr_delay, type: float32}, carrier: , id: {metadata: offset}}}
roles:
  worker: {memory: 1000MiB, input: {stream: s, shuffle: 1024, batch: 1024}}
  idle: {memory: 1GiB}
";

    fn around(file: Vec<Column>) -> Surroundings {
        Surroundings {
            application_id: "local_1_0001".into(),
            master: Master::Local,
            user: "alice".into(),
            default_fs: "file:///".into(),
            working_dir: "/home/alice".into(),
            staging: "file:///s".into(),
            report: "file:///r".into(),
            streams: IndexMap::from([("s".to_owned(), ("file:///a.csv".to_owned(), file))]),
            checkpoints: None,
            model: None,
            resources: Vec::new(),
        }
    }

    fn field(name: &str, column_type: ColumnType) -> Column {
        Column { name: name.into(), column_type, nullable: true }
    }

    #[test]
    fn columns_are_selected_renamed_and_cast_in_the_jobs_order() {
        let job = crate::parse::job(JOB, "job.yaml", &[]).unwrap();
        let file = vec![field("carrier", ColumnType::String), field("arr_delay", ColumnType::Int64)];
        let plan = plan(&job, around(file)).unwrap();
        assert_eq!(
            plan.streams["s"].output_schema(),
            [
                field("late", ColumnType::Float32),
                field("carrier", ColumnType::String),
                Column { name: "id".into(), column_type: ColumnType::Int64, nullable: false },
            ]
        );
        let memory = plan.roles["worker"].memory;
        assert_eq!((memory.trainer_mb, memory.rings_mb, memory.transforms_mb), (1000, 16, 4));
        assert_eq!(plan.roles["idle"].memory.container_mb(), 1024 + AGENT_MB);
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    }

    #[test]
    fn a_column_that_the_files_lack_is_named_with_the_nearest() {
        let job = crate::parse::job(JOB, "job.yaml", &[]).unwrap();
        let file = vec![field("carrier", ColumnType::String), field("arr_dleay", ColumnType::Int64)];
        let found = plan(&job, around(file)).unwrap_err();
        assert_eq!(
            found[0].to_string(),
            "streams.s.columns.late: the files have no column `arr_delay`; they have carrier, arr_dleay; did you mean `arr_dleay`?"
        );
    }
}
