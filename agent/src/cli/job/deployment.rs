//! Following a deployment: a picture of its groups, redrawn in place on a terminal.

use std::{collections::BTreeSet, io::IsTerminal, process::ExitCode, time::Duration};

use serde_json::Value;

use super::{
    monitor::{id, say},
    trouble::Troubles,
};
use crate::cli::{
    client::Client,
    render::{self, Paint, entries, paint, text},
};

/// Failures of tasks do not move the deployment, so it is looked at again this often.
const WAIT: Duration = Duration::from_secs(2);

/// Show a deployment until it ends, or until it waits for a person.
pub async fn follow(client: &Client, deployment: &str, verbose: bool) -> anyhow::Result<ExitCode> {
    say(&format!("Monitoring deployment \"{}\"", id(deployment, verbose)));
    let live = std::io::stdout().is_terminal();
    let (mut index, mut drawn, mut shown) = (0, 0, BTreeSet::new());
    let mut troubles = Troubles::default();
    loop {
        let found = client.watch::<Value>(&format!("/v1/deployment/{deployment}"), index, WAIT).await?;
        index = found.index;
        let d = found.value;
        let picture = picture(&d, verbose);
        if live && drawn > 0 {
            // Redraw in place: up, and clear to the end.
            print!("\x1b[{drawn}A\x1b[J");
        }
        if live || shown.insert(picture.clone()) {
            println!("{picture}");
        }
        drawn = picture.lines().count();
        if troubles.show(client, deployment).await? {
            // What was printed stays; the next picture goes below it.
            drawn = 0;
        }
        match text(&d, "Status").as_str() {
            "running" | "paused" => {}
            "successful" => {
                say(&paint("Deployment completed successfully", Paint::Good));
                return Ok(ExitCode::SUCCESS);
            }
            _ => {
                say(&paint(
                    &format!("Deployment {}: {}", text(&d, "Status"), text(&d, "StatusDescription")),
                    Paint::Bad,
                ));
                println!("    See why: trine job status {}", text(&d, "JobID"));
                return Ok(ExitCode::FAILURE);
            }
        }
        if waits_for_promotion(&d) {
            say("Canaries are healthy and wait to be promoted:");
            println!("    trine job promote {}", text(&d, "JobID"));
            return Ok(ExitCode::SUCCESS);
        }
    }
}

/// Every canary is healthy, and a person has to decide.
fn waits_for_promotion(d: &Value) -> bool {
    let number = |g: &Value, field: &str| g[field].as_u64().unwrap_or(0);
    let open: Vec<_> = entries(d, "TaskGroups")
        .filter(|(_, g)| number(g, "DesiredCanaries") > 0 && g["Promoted"] == false)
        .map(|(_, g)| g)
        .collect();
    !open.is_empty()
        && open.iter().all(|g| g["AutoPromote"] != true && number(g, "HealthyAllocs") >= number(g, "DesiredCanaries"))
}

/// A deployment as text: what it is, and each group's progress.
pub fn picture(d: &Value, verbose: bool) -> String {
    let head = render::block(&[
        ("ID", id(&text(d, "ID"), verbose)),
        ("Job ID", text(d, "JobID")),
        ("Job Version", text(d, "JobVersion")),
        ("Status", text(d, "Status")),
        ("Description", text(d, "StatusDescription")),
    ]);
    let groups: Vec<_> = entries(d, "TaskGroups").collect();
    let canaries = groups.iter().any(|(_, g)| g["DesiredCanaries"].as_u64().unwrap_or(0) > 0);
    let mut columns = vec!["Task Group"];
    if canaries {
        columns.extend(["Promoted", "Desired", "Canaries"]);
    } else {
        columns.push("Desired");
    }
    columns.extend(["Placed", "Healthy", "Unhealthy"]);
    let rows: Vec<_> = groups
        .iter()
        .map(|(name, g)| {
            let mut row = vec![(*name).clone()];
            if canaries {
                row.extend([text(g, "Promoted"), text(g, "DesiredTotal"), text(g, "DesiredCanaries")]);
            } else {
                row.push(text(g, "DesiredTotal"));
            }
            row.extend([text(g, "PlacedAllocs"), text(g, "HealthyAllocs"), text(g, "UnhealthyAllocs")]);
            row
        })
        .collect();
    format!("{head}\n\nDeployed\n{}", render::table(&columns, &rows))
}
