import { hasNamedApplication } from '../typeorm/named-application';
import type { Check } from './check';
import { finding } from './finding';

/** Options of `withFieldEncryption` that an operator should know about. */
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
