/** Makes the server answer with status 200 in each of its states, and describe it. */
export const SERVER_STATE_PATH =
  'sys/health?standbyok=true&perfstandbyok=true&drsecondarycode=200&sealedcode=200&uninitcode=200';

/** What a server says of itself to anybody, as a sentence; empty for an answer of another shape. */
export function describeServer(reply: unknown): string {
  if (typeof reply !== 'object' || reply === null) return '';
  const state = reply as Record<string, unknown>;
  if (state['initialized'] === false) return 'The server is not initialized.';
  if (state['sealed'] === true) return 'The server is sealed.';
  if (state['replication_dr_mode'] === 'secondary') return 'It is a disaster recovery standby.';
  if (state['standby'] === true || state['performance_standby'] === true) return 'It is a standby.';
  return state['sealed'] === false ? 'The server says that it is active.' : '';
}
