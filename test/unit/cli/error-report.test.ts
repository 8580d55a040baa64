import { PlaintextFoundError, RunPlanError } from '../../../src';
import { errorReport } from '../../../src/cli/terminal/output';

describe('errorReport', () => {
  it('names the option and the command that cleartext needs', () => {
    const { remedy } = errorReport(new PlaintextFoundError('Patient.ssn: cleartext'));
    expect(remedy).toContain('legacyPlaintext');
    expect(remedy).toContain('field-encryption data encrypt');
  });

  it('does not say that no row was touched, where a run may have come some way', () => {
    expect(errorReport(new RunPlanError('a checkpoint')).remedy).not.toContain('No row');
  });
});
