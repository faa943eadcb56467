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

type Error = Box<dyn std::error::Error>;

/// The application: one transaction for its own data and for the job.
fn place(database: &mut Connection, order: i64) -> Result<(), Error> {
    let transaction = database.transaction()?;
    transaction.execute("INSERT INTO orders (id) VALUES (?1)", params![order])?;
    let args = serde_json::to_string(&Mail { order })?;
    transaction.execute("INSERT INTO outbox (id, args) VALUES (?1, ?2)", params![format!("mail-{order}"), args])?;
    transaction.commit()?;
    println!("order {order} is committed, with a row in the outbox");
    Ok(())
}

/// The loop: sends the oldest rows, and returns their ids.
async fn send(database: &Connection, client: &Client) -> Result<Vec<String>, Error> {
    let mut rows = database.prepare("SELECT id, args FROM outbox ORDER BY number LIMIT 10")?;
    let rows = rows.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    let mut jobs = Vec::new();
    for row in rows {
        let (id, args) = row?;
        jobs.push(Enqueue::new(&serde_json::from_str::<Mail>(&args)?)?.id(id));
    }
    let sent = client.enqueue_many(jobs).await;
    // A row whose message SQS has not taken stays, and the next round sends it.
    Ok(sent.into_iter().flatten().map(|sent| sent.id).collect())
}

fn delete(database: &Connection, ids: &[String]) -> Result<(), Error> {
    for id in ids {
        database.execute("DELETE FROM outbox WHERE id = ?1", params![id])?;
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut database = Connection::open_in_memory()?;
    database.execute_batch(
        "CREATE TABLE orders (id INTEGER PRIMARY KEY);
         CREATE TABLE outbox (number INTEGER PRIMARY KEY, id TEXT NOT NULL, args TEXT NOT NULL);",
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
