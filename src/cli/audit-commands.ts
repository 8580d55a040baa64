import type { Command } from 'commander';
import { auditHead } from './commands/audit-head';
import { auditList } from './commands/audit-list';
import { auditVerify } from './commands/audit-verify';
import { wholeNumber } from './common-options';
import type { ChooseWork } from './common-options';

/** Adds the commands on the audit log. */
export function addAudit(program: Command, choose: ChooseWork): void {
  const audit = program.command('audit').description('what was done to the keys, by whom');
  audit
    .command('list')
    .description('list entries of the audit log')
    .option('--after <seq>', 'only entries after this one', wholeNumber, 0)
    .option('--limit <n>', 'at most so many', wholeNumber, 100)
    .action((range: { readonly after: number; readonly limit: number }) => {
      choose((session) => auditList(session, range));
    });
  audit
    .command('verify')
    .description('prove that the audit log is whole and the key table agrees with it')
    .option('--expect-head <head>', 'head that was noted before: it must still be in the log')
    .action((options: { readonly expectHead?: string }) => {
      choose((session) => auditVerify(session, options));
    });
  audit
    .command('head')
    .description('name the last entry, to be noted elsewhere')
    .action(() => {
      choose(auditHead);
    });
}
