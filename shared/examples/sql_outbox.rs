//! An outbox in a SQL database: an order and the message of its job are committed together, and a loop sends the message.
//!
//! ```text
//! order 1 is committed, with a row in the outbox
//! sent 1 message, and died before it could delete the row
//! sent 1 message again
//! the mail of order 1 ran once
//! ```

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use sqjobs::{Arguments, Client, Context, Enqueue, Job, JobError, State, Worker, testing::Eager};

/// Sends the mail of an order.
#[derive(Serialize, Deserialize)]
struct Mail {
    order: i64,
}

impl Arguments for Mail {
    const NAME: &'static str = "mail";
}

impl Job for Mail {
    type Output = ();

    async fn run(&self, ctx: &Context) -> Result<(), JobError> {
        println!("the mail of order {} ran {}", self.order, if ctx.attempt() == 1 { "once" } else { "again" });
        Ok(())
    }
}

type Failure = Box<dyn std::error::Error>;

/// The application: one transaction for its own data and for the job.
fn place(database: &mut Connection, order: i64) -> Result<(), Failure> {
    let transaction = database.transaction()?;
    transaction.execute("INSERT INTO orders (id) VALUES (?1)", params![order])?;
    let args = serde_json::to_string(&Mail { order })?;
    transaction.execute("INSERT INTO outbox (id, args) VALUES (?1, ?2)", params![format!("mail-{order}"), args])?;
    transaction.commit()?;
    println!("order {order} is committed, with a row in the outbox");
    Ok(())
}

/// The loop: sends the oldest rows, and returns their ids. A row that can never be sent is set aside, so that it holds up no other.
async fn send(database: &Connection, client: &Client) -> Result<Vec<String>, Failure> {
    let mut rows = database.prepare("SELECT id, args FROM outbox WHERE error IS NULL ORDER BY number LIMIT 10")?;
    let rows = rows.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    let mut sent = Vec::new();
    for row in rows {
        let (id, args) = row?;
        let job = serde_json::from_str::<Mail>(&args).map_err(|error| error.to_string());
        let job = job.and_then(|mail| Enqueue::new(&mail).map_err(|error| error.to_string()));
        match job {
            Ok(job) => match client.enqueue_one(job.id(&id).recorded()).await {
                Ok(job) => sent.push(job.id),
                Err(sqjobs::Error::Invalid(flaw)) => set_aside(database, &id, &flaw)?,
                Err(error) => eprintln!("job {id} is not sent, and the next round tries again: {error}"),
            },
            Err(flaw) => set_aside(database, &id, &flaw)?,
        }
    }
    Ok(sent)
}

fn set_aside(database: &Connection, id: &str, flaw: &str) -> Result<(), Failure> {
    eprintln!("job {id} cannot be sent: {flaw}");
    database.execute("UPDATE outbox SET error = ?2 WHERE id = ?1", params![id, flaw])?;
    Ok(())
}

fn delete(database: &Connection, ids: &[String]) -> Result<(), Failure> {
    for id in ids {
        database.execute("DELETE FROM outbox WHERE id = ?1", params![id])?;
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let mut database = Connection::open_in_memory()?;
    database.execute_batch(
        "CREATE TABLE orders (id INTEGER PRIMARY KEY);
         CREATE TABLE outbox (number INTEGER PRIMARY KEY, id TEXT NOT NULL, args TEXT NOT NULL, error TEXT);",
    )?;
    // In production: `Client::from_env().await`, and a function that runs the job.
    let eager = Eager::new();
    let client = eager.client();

    place(&mut database, 1)?;
    println!("sent {} message, and died before it could delete the row", send(&database, &client).await?.len());

    let sent = send(&database, &client).await?;
    println!("sent {} message again", sent.len());
    delete(&database, &sent)?;
    assert!(send(&database, &client).await?.is_empty(), "the outbox is empty");

    eager.run(&Worker::new(()).job::<Mail>()).await;
    assert_eq!(eager.record("mail-1").map(|record| record.state), Some(State::Succeeded));
    Ok(())
}
