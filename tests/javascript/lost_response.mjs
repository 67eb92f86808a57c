// A program that is not Python, and its test of a lost response. `tests/check_javascript.py` runs it.

import assert from "node:assert/strict";
import { CloudHSMV2Client, DescribeBackupsCommand, RestoreBackupCommand } from "@aws-sdk/client-cloudhsm-v2";

const endpoint = process.env.AWS_ENDPOINT_URL_CLOUDHSM_V2; // older versions of the SDK do not read it themselves
const backupId = "backup-a2b3c4d5e6f";

async function control(method, path, content) {
  const response = await fetch(endpoint + path, {
    method,
    headers: { "Content-Type": "application/json" },
    body: content && JSON.stringify(content),
  });
  assert.equal(response.status, 200);
  return response.json();
}

async function state(client) {
  const found = await client.send(new DescribeBackupsCommand({ Filters: { backupIds: [backupId] } }));
  return found.Backups[0].BackupState;
}

const client = new CloudHSMV2Client({ endpoint });
assert.equal(await state(client), "PENDING_DELETION");

const { faults } = await control("POST", "/_faults", { fault: "drop-after-work", operation: "RestoreBackup" });
assert.deepEqual(faults, [{ fault: "drop-after-work", operation: "RestoreBackup", times: 1, seconds: 1 }]);

// The service restores the backup, the response is lost, and the SDK's second attempt is rejected.
await assert.rejects(client.send(new RestoreBackupCommand({ BackupId: backupId })), (error) => {
  console.log(`${error.name} after ${error.$metadata.attempts} attempts`);
  return error.name === "CloudHsmInvalidRequestException";
});
assert.equal(await state(client), "READY");
console.log("READY");

assert.deepEqual((await control("GET", "/_faults")).faults, []);
await control("POST", "/_faults", { fault: "throttled", times: 100 });
assert.deepEqual((await control("DELETE", "/_faults")).faults, []);
const before = new Date((await control("GET", "/_clock")).now);
const after = new Date((await control("POST", "/_clock", { days: 8 })).now);
assert.ok(after - before >= 8 * 86_400_000);
