import type { LoggerOptions } from 'typeorm';

import { hasNamedApplication } from '../../typeorm/declare/field-encryption-options';
import { dialectOf } from '../../typeorm/dialect/dialect-of';
import { finding } from '../finding';
import type { Check, DatabaseCheck, Finding } from '../finding';

/** Checks options of `withFieldEncryption` that an operator should know about. */
export const configuration: Check = ({ options }) => {
  const { audit, legacyPlaintext = [], previousFormats = {} } = options;
  const converted = [...legacyPlaintext, ...Object.keys(previousFormats)];
  return [
    ...(!hasNamedApplication(options)
      ? [
          finding(
            'APPLICATION_NOT_SET',
            "No application is configured: all that share the KEK and leave it out accept each other's keys and values.",
            'Set the option application before the first row is written: it is bound into every value and token. With rows that were written without it, give this application a KEK of its own.',
          ),
        ]
      : []),
    ...(audit === false
      ? [
          finding(
            'AUDIT_OFF',
            'Operations on keys are not recorded.',
            'Take audit: false out of the options, and create the table of the audit log.',
          ),
        ]
      : []),
    ...(converted.length > 0
      ? [
          finding(
            'CONVERSION_UNDER_WAY',
            `Rows that this library has not encrypted are read in ${converted.join(', ')}.`,
            'When `status` counts none any more, take the properties out of legacyPlaintext and previousFormats.',
          ),
        ]
      : []),
  ];
};

const WHAT = 'tokens, ciphertexts and every value of plain columns, or of columns still in clear';

/** Looks for loggers of TypeORM that print the parameters of statements. */
export const applicationLog: Check = ({ dataSource }) => {
  const { logging = false, logger, maxQueryExecutionTime } = dataSource.options;
  const custom = typeof logger === 'object';
  const found: Finding[] = [];
  if (logs(logging, 'query')) {
    found.push(
      finding(
        'LOGGER_PRINTS_PARAMETERS',
        `TypeORM logs every statement with its parameters: ${WHAT}.`,
        "Leave 'query' out of the option logging, or use a logger that drops parameters.",
      ),
    );
  } else if (logs(logging, 'error') || maxQueryExecutionTime !== undefined) {
    found.push(
      finding(
        'LOGGER_PRINTS_ON_FAILURE',
        `TypeORM logs statements that fail or are slow, with their parameters: ${WHAT}.`,
        'Use a logger that drops parameters, or keep the log as confidential as the database.',
      ),
    );
  }
  if (custom) {
    found.push(
      finding(
        'LOGGER_CUSTOM',
        `A logger of the application (${nameOf(logger)}) is given every statement with its parameters, whatever the option logging says.`,
        'Check that it prints no parameters.',
      ),
    );
  }
  return found;
};

/** Checks whether the server logs statements, and with them their parameters. */
export const serverLog: DatabaseCheck = async ({ dataSource }, runner) => {
  const { title, catalog } = dialectOf(dataSource);
  const log = await catalog.statementLog?.(runner);
  if (log === undefined) return [];
  return [
    finding(
      'SERVER_LOGS_STATEMENTS',
      `${title} logs statements with their parameters (${log.settings}): ${WHAT}.`,
      `${log.remedy}, or keep the server log as confidential as the database.`,
    ),
  ];
};

function logs(logging: LoggerOptions, kind: 'query' | 'error'): boolean {
  return Array.isArray(logging) ? logging.includes(kind) : logging === true || logging === 'all';
}

function nameOf(logger: object): string {
  const { name } = logger.constructor;
  return /^\w{1,60}$/.test(name) ? name : 'unnamed';
}
