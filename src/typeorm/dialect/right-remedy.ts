/** Says what to do where the role lacks a right: it may not be the role that the work is meant for. */
export function rightRemedy(grant: string | undefined): string {
  const role =
    'Use a role that may do this (docs/operations.md, Database roles): for operations on keys, that of operators';
  return grant === undefined ? `${role}.` : `${role}. If this is to be one: ${grant}`;
}
