import type { QueryRunner } from 'typeorm';

/** A node of a plan, as `EXPLAIN (FORMAT JSON)` names its members. */
interface PlanNode {
  readonly 'Node Type': string;
  readonly 'Parent Relationship'?: string;
  readonly 'Index Cond'?: string;
  readonly Plans?: readonly PlanNode[];
}

/**
 * Whether a SELECT finds its rows by an index. Under row-level security, subplans read the tables that a policy asks,
 * the index may be one that serves the policy, and there is no scan at all where no policy shows the role any row.
 */
export async function usesIndex(runner: QueryRunner, sql: string): Promise<boolean> {
  const scans = (await planWithoutScans(runner, sql)).flatMap(scansOf);
  return scans.every((scan) => scan['Index Cond'] !== undefined);
}

/** Returns the scans that a plan gets its rows from, those of partitions each. */
function scansOf(node: PlanNode): PlanNode[] {
  const inputs = (node.Plans ?? []).filter(
    ({ 'Parent Relationship': relation }) => relation !== 'SubPlan' && relation !== 'InitPlan',
  );
  if (inputs.length > 0) return inputs.flatMap(scansOf);
  return node['Node Type'] === 'Result' ? [] : [node];
}

/** Explains a statement without sequential scans, which are preferred for small tables. */
async function planWithoutScans(runner: QueryRunner, sql: string): Promise<readonly PlanNode[]> {
  await runner.query('BEGIN READ ONLY');
  try {
    await runner.query('SET LOCAL enable_seqscan = off');
    const [row] = (await runner.query(`EXPLAIN (FORMAT JSON) ${sql}`)) as {
      readonly 'QUERY PLAN': readonly { readonly Plan: PlanNode }[];
    }[];
    return (row?.['QUERY PLAN'] ?? []).map(({ Plan }) => Plan);
  } finally {
    await runner.query('ROLLBACK');
  }
}
