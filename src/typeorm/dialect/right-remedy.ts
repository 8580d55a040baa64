/** Says what to do where the role lacks a right: it may not be the role that the work is meant for. */
export function rightRemedy(grant: string | undefined): string {
  const roles =
    'Use the role that is meant for this (docs/operations.md, Database roles): for `init` and migrations the owner of ' +
    'the tables, for operations on keys an operator. If it is this role, let the owner grant what is missing';
  return grant === undefined ? `${roles}.` : `${roles}: ${grant}`;
}
