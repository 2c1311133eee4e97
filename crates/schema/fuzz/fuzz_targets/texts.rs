//! No text ends the process: statements, definitions of tables, table infos, and statements applied to what the definitions gave.

#![no_main]

use dm_schema::create_table::{Defaults, print_create_table, read_create_table};
use dm_schema::lattice::Schema;
use dm_schema::table_info::TableInfo;
use dm_schema::{Options, Statement, TableRef, column_change, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u64, &str, &str)| {
    let (sql_mode, first, second) = input;
    let options = Options::from_sql_mode(sql_mode);
    let _ = column_change(first);
    if let Ok(info) = TableInfo::from_json(first) {
        let again = TableInfo::from_json(&info.to_json());
        assert!(again.is_ok_and(|again| again.to_json() == info.to_json()));
        let _ = Schema::of(&info);
        let _ = print_create_table(&info);
    }
    let ddls = match read(second, &options) {
        Ok(Statement::Ddl(ddls)) => ddls,
        _ => Vec::new(),
    };
    for ddl in &ddls {
        let normal = ddl.render(TableRef::clone);
        assert!(read(&normal, &Options::default()).is_ok(), "{normal}");
    }
    for is_mariadb in [false, true] {
        let defaults = Defaults {
            is_mariadb,
            ..Defaults::default()
        };
        let Ok(mut info) = read_create_table(first, &options, &defaults) else {
            continue;
        };
        for ddl in &ddls {
            let _ = info.apply(ddl, &defaults);
        }
        let _ = Schema::of(&info);
        assert!(TableInfo::from_json(&info.to_json()).is_ok());
    }
});
