const forbid = (name, comment, from, to) => ({ name, comment, severity: 'error', from, to });

module.exports = {
  forbidden: [
    forbid(
      'domain-is-pure',
      'domain/ imports only itself: no packages, no Node, no other layer',
      { path: '^domain/' },
      { pathNot: '^domain/' },
    ),
    forbid(
      'application-knows-only-domain',
      'application/ imports domain/ and itself',
      { path: '^application/' },
      { pathNot: '^(application|domain)/' },
    ),
    forbid(
      'infrastructure-is-driven',
      'adapters never call those who drive the application',
      { path: '^infrastructure/' },
      { path: '^interfaces/' },
    ),
    forbid(
      'adapters-stand-alone',
      'one technology never imports another; both SQL engines share infrastructure/sql',
      { path: '^infrastructure/([^/]+)/' },
      { path: '^infrastructure/[^/]+/', pathNot: '^infrastructure/($1|sql)/' },
    ),
    forbid(
      'interfaces-name-no-adapter',
      'only the composition knows which adapter stands behind a port; configuration and start-up errors are shared',
      { path: '^interfaces/', pathNot: '^interfaces/composition/' },
      { path: '^infrastructure/', pathNot: '^infrastructure/(config/|startup-error)' },
    ),
    forbid(
      'inversify-only-in-composition',
      'the container has one place',
      { pathNot: '^interfaces/composition/' },
      { path: '(^|node_modules/)(inversify|@inversifyjs|reflect-metadata)(/|$)' },
    ),
    forbid(
      'tests-are-not-shipped',
      'nothing that runs in production imports a test or a bench',
      { path: '^(domain|application|infrastructure|interfaces)/' },
      { path: '^(test|bench)/' },
    ),
    forbid('no-cycles', 'a cycle means two files are one', {}, { circular: true }),
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    doNotFollow: { path: 'node_modules' },
    // TypeScript 7 has no compiler API for the cruiser to use.
    parser: 'swc',
  },
};
