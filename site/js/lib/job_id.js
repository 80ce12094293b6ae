/** Job ids, as the service defines them (xcor_daemon/request/job_files.py). */

export const JOB_ID = "[0-9]{1,16}"; // a regular expression

const WHOLE = new RegExp(`^${JOB_ID}$`);

/** Whether a text is a job id: 1 to 16 decimal digits. */
export function isJobId(text) {
  return WHOLE.test(text);
}
