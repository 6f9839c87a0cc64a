//! `OpenAI`'s files: uploads as multipart forms, kept in memory, given back byte for byte.
//!
//! Invariant: at most [`FILES_MAX`] files and [`FILE_BYTES_MAX`] bytes in all; more is a 400 as from a full account.
//! A file object carries `sha256` besides the published fields, so a test compares uploads without a download.

use crate::api::{Api, Operation};
use crate::errors::Refused;
use crate::form::Form;
use crate::reply::{Reply, hex};
use crate::story::{fill, quote};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::sync::{Mutex, PoisonError};

/// How many files are kept.
const FILES_MAX: usize = 256;
/// How many bytes of files are kept.
const FILE_BYTES_MAX: usize = 512 * 1024 * 1024;

/// The files of one fake provider.
#[derive(Debug, Default)]
pub(crate) struct Files {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    list: Vec<File>,
    created: u64,
}

#[derive(Debug)]
struct File {
    id: String,
    name: String,
    purpose: String,
    bytes: Bytes,
    sha256: String,
}

impl Files {
    /// Answers any of the file operations.
    pub(crate) fn answer(
        &self,
        operation: &Operation,
        content_type: &str,
        body: &Bytes,
    ) -> Result<Reply, Refused> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match operation {
            Operation::FileCreate => kept.create(content_type, body),
            Operation::FileGet(id) => kept.find(id).map(|at| Reply::json(200, kept.describe(at))),
            Operation::FileContent(id) => {
                let at = kept.find(id)?;
                let bytes = kept.list.get(at).map(|file| file.bytes.clone()).unwrap_or_default();
                Ok(Reply::whole(200, "application/octet-stream", bytes))
            }
            Operation::FileDelete(id) => {
                let at = kept.find(id)?;
                let file = kept.list.remove(at);
                let template = r#"{"id":$id,"object":"file","deleted":true}"#;
                Ok(Reply::json(200, fill(template, &[("id", &quote(&file.id))])))
            }
            _ => Ok(kept.list_all()),
        }
    }
}

impl Kept {
    fn create(&mut self, content_type: &str, body: &Bytes) -> Result<Reply, Refused> {
        let bad = |message: &str| Refused::bad(Api::OpenAi, message);
        let form = Form::read(content_type, body)?;
        let purpose =
            form.text("purpose")?.ok_or_else(|| bad("Missing required parameter: 'purpose'."))?.to_owned();
        let (name, bytes) = form.file("file").ok_or_else(|| bad("Missing required parameter: 'file'."))?;
        let kept_bytes: usize = self.list.iter().map(|file| file.bytes.len()).sum();
        if self.list.len() >= FILES_MAX || kept_bytes + bytes.len() > FILE_BYTES_MAX {
            return Err(bad("You have exceeded your file storage quota."));
        }
        self.created += 1;
        let id = format!("file-fake{}", self.created);
        let sha256 = hex(&Sha256::digest(&bytes));
        self.list.push(File { id, name, purpose, bytes, sha256 });
        Ok(Reply::json(200, self.describe(self.list.len() - 1)))
    }

    fn find(&self, id: &str) -> Result<usize, Refused> {
        let missing = || Refused::new(Api::OpenAi, 404, format!("No such File object: {id}"));
        self.list.iter().position(|file| file.id == id).ok_or_else(missing)
    }

    fn list_all(&self) -> Reply {
        let all: Vec<String> = (0..self.list.len()).map(|at| self.describe(at)).collect();
        Reply::json(200, format!(r#"{{"object":"list","data":[{}],"has_more":false}}"#, all.join(",")))
    }

    fn describe(&self, at: usize) -> String {
        let Some(file) = self.list.get(at) else { return String::new() };
        let template = r#"{"id":$id,"object":"file","bytes":$bytes,"created_at":1760000000,"expires_at":null,"filename":$name,"purpose":$purpose,"status":"processed","status_details":null,"sha256":"$digest"}"#;
        fill(
            template,
            &[
                ("id", &quote(&file.id)),
                ("bytes", &file.bytes.len().to_string()),
                ("name", &quote(&file.name)),
                ("purpose", &quote(&file.purpose)),
                ("digest", &file.sha256),
            ],
        )
    }
}
