import type { ObjectLiteral, QueryRunner } from 'typeorm';

import type { Installation } from '../../installation/installation';
import { tellOfFailure } from '../../metadata/failure-message';
import type { AnyQueryBuilder } from '../any-query-builder';
import { assertNoRawUse } from '../refusal/statement-check';

import { DeferredParameter } from './deferred-parameter';
import { notingCriteria } from './statement-keys';

/**
 * Runs a statement with its deferred parameters resolved. Restores these afterwards, as the builder may run
 * again when other rows match.
 */
export function withResolvedParameters<T>(
  builder: AnyQueryBuilder,
  installation: Installation,
  queryRunner: QueryRunner | undefined,
  run: () => Promise<T>,
): Promise<T> {
  const deferring = deferringParameters(builder);
  return deferring.length === 0
    ? run()
    : runResolved(deferring, { builder, installation, queryRunner, run });
}

const NONE: readonly ObjectLiteral[] = [];

/** Finds the parameters with deferred ones. Called for every statement, so it allocates nothing for nearly all. */
function deferringParameters(builder: AnyQueryBuilder): readonly ObjectLiteral[] {
  const { parameters, commonTableExpressions } = builder.expressionMap;
  if (commonTableExpressions.length === 0) return holdsDeferred(parameters) ? [parameters] : NONE;
  return parametersOf(builder).filter(holdsDeferred);
}

function holdsDeferred(parameters: ObjectLiteral): boolean {
  for (const name in parameters) if (isDeferred(parameters[name])) return true;
  return false;
}

interface Run<T> {
  readonly builder: AnyQueryBuilder;
  readonly installation: Installation;
  readonly queryRunner: QueryRunner | undefined;
  readonly run: () => Promise<T>;
}

async function runResolved<T>(
  deferring: readonly ObjectLiteral[],
  { builder, installation, queryRunner, run }: Run<T>,
): Promise<T> {
  // Before anything is sent for a statement that will be refused.
  const { expressionMap } = builder;
  assertNoRawUse(expressionMap, installation);
  const { cache } = expressionMap;
  const deferred: (() => void)[] = [];
  try {
    // Two values may resolve to the same parameters, and yet have different results.
    expressionMap.cache = false;
    for (const parameters of deferring) {
      for (const [name, value] of Object.entries<unknown>(parameters)) {
        if (!isDeferred(value)) continue;
        deferred.push(() => Object.assign(parameters, { [name]: value }));
        parameters[name] = await resolved(value, { builder, installation, queryRunner });
      }
    }
    return await run();
  } finally {
    Object.assign(expressionMap, { cache });
    for (const putBack of deferred) putBack();
  }
}

/** Refuses to hand out a statement whose parameters are known only when it runs. */
export function assertNoneDeferred(builder: AnyQueryBuilder): void {
  for (const parameters of deferringParameters(builder)) {
    for (const value of Object.values(parameters).flat()) {
      if (value instanceof DeferredParameter) throw value.notYetKnown();
    }
  }
}

/** Returns the parameters of a builder and of its common table expressions, which are merged when it becomes SQL. */
function parametersOf({ expressionMap }: AnyQueryBuilder): ObjectLiteral[] {
  return [
    expressionMap.parameters,
    ...expressionMap.commonTableExpressions.flatMap(({ queryBuilder }) =>
      typeof queryBuilder === 'string' ? [] : parametersOf(queryBuilder),
    ),
  ];
}

function isDeferred(value: unknown): boolean {
  return value instanceof DeferredParameter || (Array.isArray(value) && value.some(isDeferred));
}

async function resolved(value: unknown, statement: Omit<Run<unknown>, 'run'>): Promise<unknown> {
  if (value instanceof DeferredParameter) {
    const { builder, installation, queryRunner } = statement;
    return value
      .resolve(installation, queryRunner, (make) => notingCriteria(builder, make))
      .catch((error: unknown) => {
        throw tellOfFailure(installation.dataSource, 'lookup', error, value.property);
      });
  }
  if (!Array.isArray(value)) return value;
  const items: unknown[] = [];
  // One by one, as they may share one connection.
  for (const item of value) items.push(await resolved(item, statement));
  return items;
}
