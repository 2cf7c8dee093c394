//! Select, rename and cast.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{ArrowError, Field, Schema, SchemaRef};
use yarn_ml_protocol::{
    plan::{ColumnSource, OutputColumn},
    schema::Metadata,
};

use crate::{
    operator::{Operator, OperatorError},
    types::arrow_type,
};

pub struct Project {
    columns: Vec<OutputColumn>,
    schema: SchemaRef,
}

impl Project {
    pub fn new(columns: &[OutputColumn]) -> Self {
        let fields: Vec<Field> = columns
            .iter()
            .map(|c| Field::new(&c.column.name, arrow_type(c.column.column_type), c.column.nullable))
            .collect();
        Self { columns: columns.to_vec(), schema: Arc::new(Schema::new(fields)) }
    }
}

impl Operator for Project {
    fn process_batch(&mut self, batch: RecordBatch, out: &mut Vec<RecordBatch>) -> Result<(), OperatorError> {
        // A text that is no number must not become a null.
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.columns.len());
        for output in &self.columns {
            let name = match &output.from {
                ColumnSource::Field(name) => name.as_str(),
                ColumnSource::Metadata(Metadata::Offset) => crate::csv_offset_column(),
            };
            let failed = |source: ArrowError| OperatorError::Cast {
                column: output.column.name.clone(),
                to: output.column.column_type.to_string(),
                source,
            };
            let found = batch
                .column_by_name(name)
                .ok_or_else(|| failed(ArrowError::SchemaError(format!("the source has no column {name}"))))?;
            let wanted = arrow_type(output.column.column_type);
            columns.push(if *found.data_type() == wanted {
                found.clone()
            } else {
                cast_with_options(found, &wanted, &options).map_err(failed)?
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let made = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map_err(|source| OperatorError::Arrow { operator: "columns", source })?;
        out.push(made);
        Ok(())
    }
}
