//! CPU time a row: `cargo run --release -p cistern-sql --example speed`.
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a measurement is printed, and takes the time")]

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use cistern_sql::{Script, Transform};
use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

const ROWS: usize = 8_192;
const ROUNDS: usize = 200;

fn main() -> Result<(), Box<dyn Error>> {
    let batch = events()?;
    for sql in [
        "SELECT * FROM s",
        "SELECT a, b FROM s WHERE c > 10",
        "SELECT a + c AS x, upper(b) AS y FROM s WHERE c > 10 AND f LIKE 'user-1%'",
        "SELECT 100 / c AS x FROM s",
        "SELECT value->>'merchantId' AS m FROM s",
        "SELECT value->'items'->0->>'sku' AS sku FROM s WHERE value->>'amount' > 500",
    ] {
        let script = Script::parse(sql)?;
        let transform = Transform::plan(&script.statements()[0], &batch.schema(), 0)?;
        let begun = Instant::now();
        let mut rows = 0;
        for _ in 0..ROUNDS {
            rows += transform.run(&batch)?.batch.num_rows();
        }
        let nanos = begun.elapsed().as_nanos() / (ROWS * ROUNDS) as u128;
        println!("{nanos:>6} ns a row, {:>5} rows of {ROWS} left: {sql}", rows / ROUNDS);
    }
    Ok(())
}

/// Rows of about 200 bytes beside a JSON document of 200 bytes.
fn events() -> Result<RecordBatch, Box<dyn Error>> {
    let numbers = || (0..).take(ROWS);
    let text = |each: &dyn Fn(i64) -> String| Arc::new(StringArray::from_iter_values(numbers().map(each))) as ArrayRef;
    let columns: [(&str, ArrayRef); 9] = [
        ("a", Arc::new(Int64Array::from_iter_values(numbers()))),
        ("b", text(&|row| format!("0f8fad5b-d9cb-469f-a165-{row:012}"))),
        ("c", Arc::new(Int64Array::from_iter_values(numbers().map(|row| row % 100)))),
        (
            "d",
            Arc::new(Float64Array::from_iter_values(
                numbers().map(|row| f64::from(u32::try_from(row).unwrap_or(0)) / 8.0),
            )),
        ),
        ("e", text(&|row| format!("https://example.com/shop/{row}/checkout?step=2"))),
        ("f", text(&|row| format!("user-{row}"))),
        ("g", text(&|row| format!("Mozilla/5.0 (X11; Linux x86_64) {}", row % 7))),
        ("h", Arc::new(Int64Array::from_iter_values(numbers().map(|row| row * 1_000)))),
        ("value", text(&|row| document(row))),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

fn document(row: i64) -> String {
    format!(
        r#"{{"eventId":"0f8fad5b-d9cb-469f-a165-{row:012}","kind":"checkout","merchantId":"m-{}","amount":{},"items":[{{"sku":"s-{row}","count":2}},{{"sku":"t","count":1}}],"agent":"Mozilla/5.0 (X11)"}}"#,
        row % 50,
        row % 1_000
    )
}
