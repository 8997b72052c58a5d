/** Prints why a test that passed on its second try failed on the first: a pass that needed luck is looked into. */
import type { TestCase } from 'vitest/node';
import type { Reporter } from 'vitest/reporters';

export default class RetriedReporter implements Reporter {
  onTestCaseResult(test: TestCase): void {
    const result = test.result();
    if (result.state !== 'passed' || !result.errors?.length) return;
    const causes = result.errors.map(
      (error) => `${error.message}\n${error.diff ?? ''}\n${error.stack ?? ''}`,
    );
    process.stdout.write(
      `\npassed on a retry: ${test.module.moduleId} > ${test.fullName}\n${causes.join('\n')}\n`,
    );
  }
}
