import { QueryBuilder, SelectQueryBuilder } from 'typeorm';
import type { ObjectLiteral, QueryRunner } from 'typeorm';

import { installationOf } from '../installation/installations';
import { withKnownRow } from '../metadata/known-row';
import { conditionRow, noteConditions } from '../query/lookup/condition-row';
import { noteRun } from '../query/lookup/criteria-uses';
import { expecting, noteHandWritten } from '../query/lookup/expectation';
import { rewritePredicate } from '../query/lookup/predicate';
import type { PendingJoin } from '../query/lookup/predicate';
import { assertNoneDeferred } from '../query/lookup/resolved-parameters';
import { withStatementKeys } from '../query/lookup/statement-keys';
import { assertParametersFit } from '../query/refusal/mapped-table';
import { encryptedEntityOf } from '../query/write/prepared-write';
import { requireUseOfReturned } from '../query/write/returned-values';

import { overrideClass } from './override';

/** TypeORM's base of all builders, which sends lookups on encrypted properties to their blind indexes. */
abstract class EncryptingQueryBuilder<Entity extends ObjectLiteral> extends QueryBuilder<Entity> {
  override getQueryAndParameters(): [string, unknown[]] {
    assertNoneDeferred(this);
    const statement = withStatementKeys(
      this,
      () => super.getQueryAndParameters() as [string, unknown[]],
    );
    assertParametersFit(this, statement[1]);
    return statement;
  }

  /** Called once whenever a builder runs, before anything is sent. */
  protected override obtainQueryRunner(): QueryRunner {
    noteRun(this);
    return super.obtainQueryRunner();
  }

  protected override createReturningExpression(
    ...args: Parameters<QueryBuilder<Entity>['createReturningExpression']>
  ): string {
    const expression = super.createReturningExpression(...args);
    const entity = encryptedEntityOf(this);
    if (entity !== undefined) requireUseOfReturned(this, entity, expression);
    return expression;
  }

  protected override *getPredicates(where: ObjectLiteral) {
    for (const predicate of super.getPredicates(where) as Iterable<[string, unknown]>) {
      noteConditions(this, where);
      yield predicate;
    }
  }

  protected override getWherePredicateCondition(aliasPath: string, parameterValue: unknown) {
    const installation = installationOf(this.connection);
    noteHandWritten(this, aliasPath, parameterValue);
    const joins = pendingJoinsOf(this);
    const predicate = withKnownRow(conditionRow(this, aliasPath), () =>
      rewritePredicate(this, joins, installation, aliasPath, parameterValue),
    );
    const condition =
      'sql' in predicate
        ? predicate.sql
        : super.getWherePredicateCondition(predicate.path, predicate.value);
    if (!(this instanceof SelectQueryBuilder)) return condition;
    return expecting(this, predicate.expectation, condition);
  }
}

/** Returns the joins that find options have asked for; protected, and in a SELECT only. */
function pendingJoinsOf(builder: object): readonly PendingJoin[] {
  return (builder as { readonly joins?: readonly PendingJoin[] }).joins ?? [];
}

/** Overrides the methods above in TypeORM's QueryBuilder. */
export function patchQueryBuilder(): void {
  overrideClass(QueryBuilder, EncryptingQueryBuilder);
}
